// Copies values of every column type from events to rows and from row to row.
// `tests/tests/end_to_end/languages.rs` defines it, for all languages.
import {
  type Event,
  Json,
  type NewRow,
  type TableHandle,
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
} as const;

interface Given {
  name: string;
  cell: never;
}

type Tables = {
  value_copies: TableHandle<typeof valueCopies>;
  value_cells: TableHandle<typeof valueCells>;
};
type Handler = (event: Event<Given>, tables: Tables) => void;

/** Puts what an event has into a column of its own. */
const given: Record<string, Handler> = Object.fromEntries(
  Object.entries(COLUMNS).flatMap(([name, column]): [string, Handler][] => [
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

/** The columns as they stand in an event. */
type ValueTexts = { name: string } & {
  [C in Exclude<keyof NewRow<typeof valueCopies>, "name">]?: string | null;
};

const MILLISECONDS_PER_DAY = 86_400_000;

function parsed<T>(value: string | null | undefined, parse: (text: string) => T): T | null {
  return value === null || value === undefined ? null : parse(value);
}

function octets(digits: string): Uint8Array {
  const pairs = digits.match(/../g) ?? [];
  return Uint8Array.from(pairs, (pair) => parseInt(pair, 16));
}

export default projection({
  name: "value_copies",
  version: 1,
  tables: { value_copies: valueCopies, value_cells: valueCells },
  on: {
    ...given,
    ValueSeen({ data }: Event<ValueTexts>, { value_copies }) {
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
    ValueCopied({ data }: Event<{ from: string; to: string }>, { value_copies }) {
      const row = value_copies.get(data.from);
      if (!row) throw new Error(`there is no value ${data.from}`);
      value_copies.put({ ...row, name: data.to });
    },
    LineSaid({ data }: Event<{ line: string }>) {
      console.log(data.line);
    },
    EventRefused({ data }: Event<{ why: string }>) {
      throw new Error(data.why);
    },
    FaultMet(_, { value_copies }) {
      const nothing = value_copies.get("no such value");
      console.log(nothing!.words);
    },
  },
});
