// Reads the `mappings` of a source map (ECMA-426).

const DIGITS = new Map(
  [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"].map((digit, value) => [
    digit,
    value,
  ]),
);
const CONTINUES = 32;

function decodeNumbers(segment) {
  const numbers = [];
  let value = 0;
  let shift = 0;
  for (const digit of segment) {
    const bits = DIGITS.get(digit);
    value += (bits & (CONTINUES - 1)) << shift;
    shift += 5;
    if (bits & CONTINUES) continue;
    numbers.push(value & 1 ? -(value >> 1) : value >> 1);
    value = shift = 0;
  }
  return numbers;
}

/**
 * For each generated line a list of [column, source, line, column]: the first counts from 0 as
 * source maps do, the line and the column of the source from 1 as people do.
 */
export function decodeMappings(mappings) {
  let source = 0;
  let line = 0;
  let column = 0;
  return mappings.split(";").map((text) => {
    let generated = 0;
    const segments = [];
    for (const segment of text ? text.split(",") : []) {
      const [columns, sources, lines, sourceColumns] = decodeNumbers(segment);
      generated += columns;
      if (sources === undefined) continue;
      source += sources;
      line += lines;
      column += sourceColumns;
      segments.push([generated, source, line + 1, column + 1]);
    }
    return segments;
  });
}
