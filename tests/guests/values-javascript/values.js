// Copies values of every column type from events to rows and from row to row.
// `tests/tests/end_to_end/languages.rs` defines it, for all languages.
import {
  Json,
  boolean,
  bytes,
  date,
  dateOf,
  decimal,
  float,
  integer,
  json,
  projection,
  table,
  text,
  timestamp,
  uuid,
} from "gnomon";

const valueCopies = table(
  {
    name: text(),
    truth: boolean().nullable(),
    whole: integer().nullable(),
    fraction: float().nullable(),
    exact: decimal().nullable(),
    words: text().nullable(),
    octets: bytes().nullable(),
    moment: timestamp().nullable(),
    day: date().nullable(),
    identity: uuid().nullable(),
    document: json().nullable(),
  },
  { key: "name" },
);

/** The same, and none is null. */
const valueCells = table(
  {
    name: text(),
    truth: boolean(),
    whole: integer(),
    fraction: float(),
    exact: decimal(),
    words: text(),
    octets: bytes(),
    moment: timestamp(),
    day: date(),
    identity: uuid(),
    document: json(),
  },
  { key: "name" },
);

const COLUMNS = {
  Truth: "truth",
  Whole: "whole",
  Fraction: "fraction",
  Exact: "exact",
  Words: "words",
  Moment: "moment",
  Day: "day",
  Identity: "identity",
  Document: "document",
};

/** Puts what an event has into a column of its own. */
const given = Object.fromEntries(
  Object.entries(COLUMNS).flatMap(([name, column]) => [
    [
      `${name}Given`,
      ({ data }, { value_cells }) => value_cells.merge(data.name, { [column]: data.cell }),
    ],
    [
      `Maybe${name}Given`,
      ({ data }, { value_copies }) => value_copies.merge(data.name, { [column]: data.cell }),
    ],
  ]),
);

class Octets extends Uint8Array {}

/** Values that the code makes, and no event has. */
const MADE = {
  nan: () => ({ fraction: NaN }),
  infinity: () => ({ fraction: Infinity }),
  "negative infinity": () => ({ fraction: -Infinity }),
  "negative zero": () => ({ fraction: -0 }),
  "a whole number as a float": () => ({ fraction: 5n }),
  "a whole number too large for a float": () => ({ fraction: 10n ** 400n }),
  "80 digits": () => ({ exact: BigInt("1234567890".repeat(8)) }),
  "100 places": () => ({ exact: `-0.${"1234567890".repeat(10)}` }),
  "a whole number as a decimal": () => ({ exact: -5 }),
  "a fraction as a decimal": () => ({ exact: 1.5 }),
  "no decimal": () => ({ exact: "" }),
  "a whole float": () => ({ whole: 5.0 }),
  "a number beyond 64 bits": () => ({ whole: 2n ** 63n }),
  "a number beyond 2^53": () => ({ whole: 2 ** 53 }),
  "another type": () => ({ whole: "5" }),
  "a boolean": () => ({ whole: true }),
  nothing: () => ({ whole: null }),
  empty: () => ({ words: "" }),
  nul: () => ({ words: "a\0b" }),
  "half a character": () => ({ words: "a\ud800" }),
  "a text object": () => ({ words: new String("x") }),
  "bytes of a part": () => ({ octets: new Uint8Array([1, 2, 3, 4]).subarray(1, 3) }),
  "bytes of a class": () => ({ octets: new Octets([2, 3]) }),
  "clamped bytes": () => ({ octets: new Uint8ClampedArray([2, 3]) }),
  "words of 16 bits": () => ({ octets: new Uint16Array([2, 3]) }),
  "a buffer": () => ({ octets: new Uint8Array([2, 3]).buffer }),
  "a list of bytes": () => ({ octets: [2, 3] }),
  "the day of a moment": () => ({ day: dateOf(new Date("2025-01-15T23:30:00-01:00")) }),
  "a moment as a day": () => ({ day: new Date("2025-01-15T10:30:00Z") }),
  "a moment too far": () => ({ moment: 2n ** 63n - 1n }),
  "a day too far": () => ({ day: dateOf(new Date(8.64e15)) }),
  "a moment in a zone": () => ({ moment: "2025-01-15T10:30:00.123456789+02:00" }),
  "a moment as a Date": () => ({ moment: new Date(Date.UTC(2025, 0, 15, 8, 30, 0, 123)) }),
  "a moment as a number": () => ({ moment: 1_736_929_800_000 }),
  "no moment": () => ({ moment: new Date("never") }),
  "no UUID": () => ({ identity: "f47ac10b58cc4372a5670e02b2c3d479" }),
  "JSON null": () => ({ document: null }),
  "nan in JSON": () => ({ document: { a: [NaN] } }),
  "a map in JSON": () => ({ document: [new Map([[1, 2]])] }),
  "bytes in JSON": () => ({ document: new Uint8Array([1]) }),
  "a function in JSON": () => ({ document: () => 1 }),
  "a large number in JSON": () => ({ document: { a: 10n ** 20n, b: new Json("1.10") } }),
};

const MILLISECONDS_PER_DAY = 86_400_000;

function parsed(value, parse) {
  return value === null || value === undefined ? null : parse(value);
}

function octets(digits) {
  const pairs = digits.match(/../g) ?? [];
  return Uint8Array.from(pairs, (pair) => parseInt(pair, 16));
}

export default projection({
  name: "value_copies",
  version: 1,
  tables: { value_copies: valueCopies, value_cells: valueCells },
  on: {
    ...given,
    ValueMade({ data }, { value_cells }) {
      const make = MADE[data.how];
      if (!make) throw new Error(`there is no ${data.how}`);
      value_cells.merge(data.name, make());
    },
    ValueSeen({ data }, { value_copies }) {
      value_copies.put({
        name: data.name,
        truth: parsed(data.truth, (text) => text === "true"),
        whole: parsed(data.whole, BigInt),
        fraction: parsed(data.fraction, Number),
        exact: data.exact,
        words: data.words,
        octets: parsed(data.octets, octets),
        moment: parsed(data.moment, BigInt),
        day: parsed(data.day, (days) => dateOf(new Date(Number(days) * MILLISECONDS_PER_DAY))),
        identity: data.identity,
        document: parsed(data.document, (text) => new Json(text)),
      });
    },
    ValueCopied({ data }, { value_copies }) {
      const row = value_copies.get(data.from);
      if (!row) throw new Error(`there is no value ${data.from}`);
      value_copies.put({ ...row, name: data.to });
    },
    LineSaid({ data }) {
      console.log(data.line);
    },
    EventRefused({ data }) {
      throw new Error(data.why);
    },
    FaultMet(_, { value_copies }) {
      const nothing = value_copies.get("no such value");
      console.log(nothing.words);
    },
  },
});
