/**
 * Write Gnomon projections in JavaScript or TypeScript.
 *
 * ```text
 *            parse             handler             put, merge, patch, …
 * event ──> event.data ──> your function ──> plain rows ──> host ──> SQL tables
 * ```
 *
 * A module exports one projection as its default:
 *
 * ```ts
 * import { add, integer, projection, table, text } from "gnomon";
 *
 * export default projection({
 *   name: "spending",
 *   version: 1,
 *   tables: {
 *     spending: table({ customer_id: text(), spent_cents: integer() }, { key: "customer_id" }),
 *   },
 *   on: {
 *     PaymentReceived({ data }, { spending }) {
 *       spending.merge(data.customer_id, { spent_cents: add(data.amount_cents) });
 *     },
 *   },
 * });
 * ```
 *
 * A projection is a pure function of the events: it has no clock, no randomness and no input but
 * its events and its own tables, and it keeps nothing in memory from one batch to the next. What it
 * cannot apply it rejects by throwing; the message and the place reach whoever runs the host.
 *
 * 64-bit integers are BigInt, so that none is ever rounded.
 */

/** A column that takes `Write` and gives `Read`. */
export interface Column<Write, Read> {
  /** The same, but it may hold null. */
  nullable(): Column<Write | null | undefined, Read | null>;
  /** Only for the compiler. */
  readonly types?: { write: Write; read: Read };
}

export function boolean(): Column<boolean, boolean>;
/** 64 bits. Takes a BigInt, or a number up to 2^53; gives a BigInt. */
export function integer(): Column<bigint | number, bigint>;
/** As `integer`, but gives a number, and throws where a number could not hold it. */
export function safeInteger(): Column<bigint | number, number>;
/** Takes a BigInt too, as the nearest number of 64 bits. */
export function float(): Column<number | bigint, number>;
/**
 * An exact decimal number as text in plain notation, such as `"-12.50"`. Takes a BigInt and a whole
 * number up to 2^53 too; a number with a fraction has lost digits already, and throws.
 */
export function decimal(): Column<string | bigint | number, string>;
export function text(): Column<string, string>;
export function bytes(): Column<Uint8Array, Uint8Array>;
/**
 * Microseconds since the epoch as a BigInt, as `event.recordedAt` has them; takes a `Date` and a text
 * such as `"2025-01-15T10:30:00.5+02:00"` too.
 */
export function timestamp(): Column<bigint | Date | string, bigint>;
/** A day as text, such as `"2025-01-15"`. */
export function date(): Column<string, string>;
/** A UUID as text; it comes back in lower case. */
export function uuid(): Column<string, string>;
/**
 * Takes whatever JSON can hold; gives a {@link Json}, which loses nothing. What JSON.stringify would
 * change silently (NaN, an infinity, a Map, a Set, bytes) throws. Null is JSON's own, unless the
 * column is nullable.
 */
export function json(): Column<unknown, Json>;

/** A JSON document as its text. */
export class Json {
  /** @throws {SyntaxError} if the text is no JSON. */
  constructor(text: string);
  readonly text: string;
  /** Parsed. Integers beyond 2^53 are BigInt; other numbers are rounded as `JSON.parse` does. */
  readonly value: any;
}

export type Columns = Record<string, Column<any, any>>;

type Write<C> = C extends Column<infer W, any> ? W : never;
type Read<C> = C extends Column<any, infer R> ? R : never;
type Omissible<C extends Columns> = {
  [N in keyof C]: undefined extends Write<C[N]> ? N : never;
}[keyof C];
type Flat<T> = { [N in keyof T]: T[N] };
type IsOne<K, All = K> = [K] extends [never]
  ? false
  : K extends unknown
    ? [All] extends [K]
      ? true
      : false
    : never;

/** A declared table with these columns; `K` are the names of its key. */
export interface Table<C extends Columns, K extends keyof C> {
  readonly columns: C;
  readonly key: readonly K[];
}

/** A row as it is read. */
export type Row<T> = T extends Table<infer C, any> ? Flat<{ [N in keyof C]: Read<C[N]> }> : never;

/** A row as it is written: columns that may be null can be left out. */
export type NewRow<T> =
  T extends Table<infer C, any>
    ? Flat<
        { [N in Exclude<keyof C, Omissible<C>>]: Write<C[N]> } & {
          [N in Omissible<C>]?: Write<C[N]>;
        }
      >
    : never;

/** What identifies a row: the value of the key's column, or an object of them if it has several. */
export type Key<T> =
  T extends Table<infer C, infer K>
    ? IsOne<K> extends true
      ? Write<C[K]>
      : { [N in K]: Write<C[N]> }
    : never;

/** A change that is more than a new value; made by `add`, `min` and `max`. */
export interface Change<Value> {
  readonly kind: "add" | "min" | "max";
  readonly value: Value;
}

/** Adds to an integer, float or decimal column; null counts as zero. */
export function add<Value extends number | bigint | string>(value: Value): Change<Value>;
/** Keeps the smaller of the column and the value; null is replaced. */
export function min<Value>(value: Value): Change<Value>;
/** Keeps the larger of the column and the value; null is replaced. */
export function max<Value>(value: Value): Change<Value>;

/** New values and changes of columns outside of the key, made in the order in which they stand. */
export type Changes<T> =
  T extends Table<infer C, infer K>
    ? { [N in Exclude<keyof C, K>]?: Write<C[N]> | Change<NonNullable<Write<C[N]>>> }
    : never;

/** Columns of one declared index, in its order, and the values that they equal. */
export type Condition<T> = T extends Table<infer C, any> ? { [N in keyof C]?: Write<C[N]> } : never;

/** Declares a table, with the names of its key's columns and, if any, of those of its indexes. */
export function table<const C extends Columns, const K extends keyof C & string>(
  columns: C,
  options: {
    key: K | readonly K[];
    indexes?: readonly ((keyof C & string) | readonly (keyof C & string)[])[];
  },
): Table<C, K>;

/**
 * A table, as it will stand once the batch commits: every read sees the writes made so far.
 *
 * A value that does not fit its column throws, naming the table, the column and the value. What only
 * the host can know (a sum that leaves its range, an index that was not declared) ends the batch at
 * once, past any `catch`; the host then names the event.
 */
export interface TableHandle<T> {
  /** The row under a key. */
  get(key: Key<T>): Row<T> | undefined;
  /** The rows under many keys, in their order, in one round trip. */
  getMany(keys: Iterable<Key<T>>): (Row<T> | undefined)[];
  /** The rows in which the columns of an index equal these values, in key order. */
  find(where: Condition<T>, limit: number): Row<T>[];
  /** Inserts a row, or replaces the one under its key. */
  put(row: NewRow<T>): void;
  /** Changes the row under a key; without such a row, does nothing. */
  patch(key: Key<T>, changes: Changes<T>): void;
  /**
   * Changes the row under a key; without such a row, creates it first, each column at its zero:
   * null where it is nullable, else false, 0, the empty text or bytes, the epoch, the nil UUID, or
   * JSON null. With `add`, `min` and `max` it is the cheapest way to count and sum.
   */
  merge(key: Key<T>, changes: Changes<T>): void;
  /** Removes the row under a key, if there is one. */
  remove(key: Key<T>): void;
  /** `patch` on every row that `find` would give without a limit. */
  patchWhere(where: Condition<T>, changes: Changes<T>): void;
  /** `remove` on every row that `find` would give without a limit. */
  removeWhere(where: Condition<T>): void;
}

/** An event; `Data` is what its type promises of its data, which nothing checks. */
export interface Event<Data = any> {
  /** Place in the global order of the source. */
  readonly position: bigint;
  readonly id: string;
  /** The stream, such as `Order-abc123`. */
  readonly streamId: string;
  /** `Order` for the stream `Order-abc123`. */
  readonly category: string;
  /** `abc123` for the stream `Order-abc123`. */
  readonly entityId: string;
  readonly type: string;
  /** Place in its own stream, from 1. */
  readonly version: bigint;
  /** Version of the data's schema, from 1. */
  readonly schemaVersion: number;
  /** When it was recorded, in microseconds since the epoch. */
  readonly recordedAt: bigint;
  /**
   * Its JSON, parsed: integers beyond 2^53 are BigInt, other numbers as `JSON.parse` has them. Throws
   * if a number is too large for one. A `Uint8Array` if it is binary.
   */
  readonly data: Data;
  /** The JSON as it was stored, for numbers that must keep every digit; undefined if binary. */
  readonly dataText: string | undefined;
  /** Correlation and causation ids, the user and so on. Throws unless the projection has `metadata`. */
  readonly metadata: any;
}

/** What a projection is. */
export interface Projection<T extends Record<string, Table<any, any>>> {
  /** `[a-z][a-z0-9_]*`, at most 40 characters. */
  name: string;
  /** Raise it whenever the same events would give other rows: the host then builds it anew. */
  version: number;
  /** By name. */
  tables: T;
  /**
   * What to do, by the type of the event. Only these types are read, unless there is a handler `"*"`
   * for all others.
   */
  on: Record<
    string,
    // A method, so that an author may say what an event's data is.
    { handle(event: Event<any>, tables: { [N in keyof T]: TableHandle<T[N]> }): void }["handle"]
  >;
  /** Only streams of these categories: `Order` for `Order-abc123`. All, if there are none. */
  categories?: readonly string[];
  /** Whether events come with their metadata. */
  metadata?: boolean;
}

/** Declares the projection; the module exports it as its default. */
export function projection<T extends Record<string, Table<any, any>>>(
  declared: Projection<T>,
): Projection<T>;

/** The UTC day of a time, as a `date` column has it: `"2025-01-15"`. */
export function dateOf(time: bigint | Date): string;
/** Microseconds since the epoch as a `Date`, which drops what is below a millisecond. */
export function toDate(microseconds: bigint): Date;

declare global {
  /** Writes to the host's log. */
  interface Console {
    trace(...parts: unknown[]): void;
    debug(...parts: unknown[]): void;
    log(...parts: unknown[]): void;
    info(...parts: unknown[]): void;
    warn(...parts: unknown[]): void;
    error(...parts: unknown[]): void;
  }
  var console: Console;
}
