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

const MAY_HAVE_A_LARGE_INTEGER = /\d{16}/;
const INTEGER = /^-?\d+$/;

/** Integers beyond 2^53 become BigInt, all else what JSON.parse makes of it. */
export function parse(text) {
  return MAY_HAVE_A_LARGE_INTEGER.test(text) ? JSON.parse(text, exact) : JSON.parse(text);
}

function exact(_key, value, context) {
  const rounded =
    typeof value === "number" && !Number.isSafeInteger(value) && INTEGER.test(context.source);
  return rounded ? BigInt(context.source) : value;
}

/** The text of a value, or undefined if it has none. */
export function stringify(value) {
  return JSON.stringify(value, (_key, part) =>
    typeof part === "bigint" ? JSON.rawJSON(part.toString()) : part,
  );
}
