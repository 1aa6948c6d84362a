// Checks of what the contract takes besides the values of columns.

const UNSIGNED_32_MAX = 2 ** 32 - 1;

export const isUnsigned32 = (value) =>
  Number.isInteger(value) && value >= 0 && value <= UNSIGNED_32_MAX;

export const areTexts = (values) =>
  Array.isArray(values) && values.every((value) => typeof value === "string");
