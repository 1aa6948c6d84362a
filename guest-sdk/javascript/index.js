// Write Gnomon projections in JavaScript or TypeScript. index.d.ts has the documentation.
import "./globals.js";

export { add, max, min } from "./changes.js";
export {
  boolean,
  bytes,
  date,
  decimal,
  float,
  integer,
  json,
  safeInteger,
  text,
  timestamp,
  uuid,
} from "./columns.js";
export { Json } from "./json.js";
export { projection } from "./projection.js";
export { table } from "./table.js";
export { dateOf, toDate } from "./time.js";
