// Times are microseconds since the epoch as BigInt, which a Date cannot hold exactly; dates are
// texts such as "2025-01-15".

const MICROSECONDS_PER_MILLISECOND = 1000n;
const MILLISECONDS_PER_DAY = 86_400_000;

export function toDate(microseconds) {
  return new Date(Number(floored(BigInt(microseconds), MICROSECONDS_PER_MILLISECOND)));
}

export function dateOf(time) {
  return (time instanceof Date ? time : toDate(time)).toISOString().slice(0, 10);
}

export function microsecondsOf(date) {
  return BigInt(date.getTime()) * MICROSECONDS_PER_MILLISECOND;
}

const TIME =
  /^(\d{4}-\d\d-\d\d)[Tt ]((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)(?:[.,](\d+))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))$/;
const MICROSECONDS_PER_MINUTE = 60_000_000n;

/** Microseconds of a text in the form of RFC 3339, or undefined. What is finer is cut off. */
export function microsecondsIn(text) {
  const [, date, time, fraction = "", sign, hours, minutes] = TIME.exec(text) ?? [];
  // The engine takes the 30th of February.
  if (date === undefined || Number.isNaN(daysOf(date)) || date.startsWith("0000")) return undefined;
  const whole = BigInt(Date.parse(`${date}T${time}Z`)) * MICROSECONDS_PER_MILLISECOND;
  const offset = BigInt(hours ?? 0) * 60n + BigInt(minutes ?? 0);
  const behind = (sign === "-" ? -offset : offset) * MICROSECONDS_PER_MINUTE;
  return whole + BigInt(fraction.slice(0, 6).padEnd(6, "0")) - behind;
}

/** Days since the epoch, or NaN if the text is no date. */
export function daysOf(text) {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return NaN;
  const days = Date.parse(`${text}T00:00:00Z`) / MILLISECONDS_PER_DAY;
  return dateOfDays(days) === text ? days : NaN;
}

export function dateOfDays(days) {
  const date = new Date(days * MILLISECONDS_PER_DAY);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString().slice(0, 10);
}

function floored(dividend, divisor) {
  const quotient = dividend / divisor;
  return dividend % divisor < 0n ? quotient - 1n : quotient;
}
