// JSON without loss: numbers that JavaScript cannot hold are never rounded.

/** A JSON document as its text. */
export class Json {
  #text;

  constructor(text) {
    JSON.parse(text);
    this.#text = text;
  }

  get text() {
    return this.#text;
  }

  get value() {
    return parse(this.#text);
  }

  toString() {
    return this.#text;
  }

  toJSON() {
    return JSON.rawJSON(this.#text);
  }
}

const MAY_HAVE_A_LARGE_NUMBER = /\d{16}|[eE]\+?0*[1-9]\d\d/;
const INTEGER = /^-?\d+$/;
const SHOWN_CHARACTERS_MAX = 40;

/**
 * Integers beyond 2^53 become BigInt, all else what JSON.parse makes of it; but a number that would
 * become an infinity throws.
 */
export function parse(text) {
  return MAY_HAVE_A_LARGE_NUMBER.test(text) ? JSON.parse(text, exact) : JSON.parse(text);
}

function exact(_key, value, { source }) {
  if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
  if (INTEGER.test(source)) return BigInt(source);
  if (Number.isFinite(value)) return value;
  const digits = source.slice(0, SHOWN_CHARACTERS_MAX);
  throw new RangeError(`${digits} is beyond what a number can hold; the text of the JSON has its digits`);
}

/** The text of a value, or undefined if it has none. */
export function stringify(value) {
  return JSON.stringify(value, (_key, part) => {
    if (typeof part === "bigint") return JSON.rawJSON(part.toString());
    const lost = whatIsLost(part);
    if (lost) throw new TypeError(`JSON has no ${lost}, and would silently hold something else`);
    return part;
  });
}

/** What JSON.stringify makes null, or an object without what was in it. */
function whatIsLost(part) {
  if (typeof part === "number") return Number.isFinite(part) ? undefined : String(part);
  if (typeof part !== "object" || part === null) return undefined;
  const isLost =
    part instanceof Map ||
    part instanceof Set ||
    part instanceof ArrayBuffer ||
    ArrayBuffer.isView(part);
  return isLost ? part.constructor.name : undefined;
}
