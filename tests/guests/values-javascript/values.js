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
  tables: { value_copies: valueCopies },
  on: {
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
