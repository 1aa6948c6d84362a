// The types of columns: what JavaScript has for each, and how it becomes a value of the contract.
// What the contract's types cannot carry must be refused here: the boundary could only trap.

import { Json, stringify } from "./json.js";
import { dateOfDays, daysOf, microsecondsIn, microsecondsOf } from "./time.js";

const INTEGER_MIN = -(2n ** 63n);
const INTEGER_MAX = 2n ** 63n - 1n;

export class Column {
  /**
   * `encode` gives what stands for a value in the contract, or undefined if the value is none of
   * this type; `decode` goes the other way.
   */
  constructor(type, wanted, encode, decode, isNullable = false) {
    this.type = type;
    this.wanted = wanted;
    this.encode = encode;
    this.decode = decode;
    this.isNullable = isNullable;
  }

  nullable() {
    return new Column(this.type, this.wanted, this.encode, this.decode, true);
  }
}

const same = (value) => value;
const when = (is) => (value) => (is(value) ? value : undefined);
const isText = (value) => typeof value === "string" && value.isWellFormed();

function toInteger(value) {
  const integer = Number.isSafeInteger(value) ? BigInt(value) : value;
  const fits = typeof integer === "bigint" && integer >= INTEGER_MIN && integer <= INTEGER_MAX;
  return fits ? integer : undefined;
}

/** A number of either kind as the nearest float; what is too large for one is none. */
function toFloat(value) {
  if (typeof value === "number") return value;
  const float = typeof value === "bigint" ? Number(value) : NaN;
  return Number.isFinite(float) ? float : undefined;
}

const DECIMAL = /^-?\d+(\.\d+)?$/;
const UUID = /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/i;

/** A fraction that is a number has lost digits already. */
function toDecimal(value) {
  if (typeof value === "bigint") return value.toString();
  if (Number.isSafeInteger(value)) return BigInt(value).toString();
  return typeof value === "string" && DECIMAL.test(value) ? value : undefined;
}

function toSafeNumber(integer, path) {
  const number = Number(integer);
  if (!Number.isSafeInteger(number)) {
    throw new RangeError(`${path}: ${integer} is beyond 2^53; declare the column as integer()`);
  }
  return number;
}

/** A number could be milliseconds as well. */
function toMicroseconds(value) {
  switch (typeof value) {
    case "bigint":
      return toInteger(value);
    case "string":
      return microsecondsIn(value);
    default:
      return value instanceof Date && !Number.isNaN(value.getTime())
        ? microsecondsOf(value)
        : undefined;
  }
}

function toDays(value) {
  const days = typeof value === "string" ? daysOf(value) : NaN;
  return Number.isNaN(days) ? undefined : days;
}

function toJson(value) {
  const text = value instanceof Json ? value.text : stringify(value);
  return text?.isWellFormed() ? text : undefined;
}

const AN_INTEGER = "an integer from -2^63 to 2^63-1: a BigInt, or a number up to 2^53";

export const boolean = () =>
  new Column("boolean", "a boolean", when((value) => typeof value === "boolean"), same);
export const integer = () => new Column("integer", AN_INTEGER, toInteger, same);
export const safeInteger = () => new Column("integer", AN_INTEGER, toInteger, toSafeNumber);
export const float = () => new Column("float", "a number", toFloat, same);
export const decimal = () =>
  new Column("decimal", 'a decimal as text, such as "-12.50", or a whole number', toDecimal, same);
export const text = () =>
  new Column("text", "a text without half characters", when(isText), same);
export const bytes = () =>
  new Column("bytes", "a Uint8Array", when((value) => value instanceof Uint8Array), same);
export const timestamp = () =>
  new Column(
    "timestamp",
    'microseconds as a BigInt, a Date, or a text such as "2025-01-15T10:30:00Z"',
    toMicroseconds,
    same,
  );
export const date = () =>
  new Column("date", 'a date as text, such as "2025-01-15"', toDays, dateOfDays);
export const uuid = () =>
  new Column(
    "uuid",
    "a UUID as text of 36 characters",
    when((value) => typeof value === "string" && UUID.test(value)),
    same,
  );
export const json = () =>
  new Column("json", "what JSON can hold", toJson, (text) => new Json(text));
