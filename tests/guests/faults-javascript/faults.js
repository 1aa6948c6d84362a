// Does what an event's type tells it to, in ways in which an author errs.
// `tests/tests/end_to_end/javascript.rs` says what each must come to.
import {
  add,
  bytes,
  date,
  float,
  integer,
  json,
  max,
  projection,
  safeInteger,
  table,
  text,
  timestamp,
} from "gnomon";

import { deep } from "./deep.js";

console.warn("printed while the module was loaded");

const notes = table(
  {
    id: text(),
    whole: integer().nullable(),
    safe: safeInteger().nullable(),
    fraction: float().nullable(),
    octets: bytes().nullable(),
    moment: timestamp().nullable(),
    day: date().nullable(),
    document: json().nullable(),
  },
  { key: "id", indexes: ["whole"] },
);
const pairs = table({ left: text(), right: integer(), count: integer() }, { key: ["left", "right"] });

const put = (row) => (_, { notes }) => notes.put({ id: "a", ...row });

export default projection({
  name: "faults",
  version: 1,
  tables: { notes, pairs },
  on: {
    ThrowsError() {
      throw new RangeError("out of \"range\" 👟", { cause: new Error("the cause") });
    },
    ThrowsText() {
      throw "only a text";
    },
    ThrowsNothing() {
      throw undefined;
    },
    ThrowsObject() {
      throw { code: 7n };
    },
    ThrowsUnshowable() {
      throw { get message() { throw 1; }, toJSON() { throw 2; }, toString() { throw 3; } };
    },
    ThrowsHalfACharacter() {
      throw new Error("half \ud83d");
    },
    MeetsNull: () => deep(3),
    ParsesNoJson: () => JSON.parse("{no json"),
    IsAsynchronous: async () => {},
    AsksForTheTime: () => Date.now(),
    AsksForTheDate: () => new Date(),
    AsksForTheDateAsText: () => Date(),
    MeasuresTime: () => performance.now(),
    ThrowsDice: () => Math.random(),
    AsksForMetadata: (event) => event.metadata,
    PutsAFraction: put({ whole: 1.5 }),
    PutsARoundedNumber: put({ whole: 2 ** 53 }),
    PutsATextAsNumber: put({ whole: "7" }),
    PutsTooLargeAnInteger: put({ whole: 2n ** 63n }),
    PutsTooSmallAnInteger: put({ whole: -(2n ** 63n) - 1n }),
    PutsATooLargeNumber: put({ fraction: 10n ** 400n }),
    PutsAListAsBytes: put({ octets: [1, 2] }),
    PutsNoTime: put({ moment: new Date(NaN) }),
    PutsNoDay: put({ day: "2025-02-30" }),
    PutsAFunctionAsJson: put({ document: () => 1 }),
    PutsHalfACharacter: put({ id: "\ud83d" }),
    PutsNullIntoTheKey: put({ id: null }),
    PutsAnUnknownColumn: put({ nonsense: 1 }),
    AddsNothing: (_, { notes }) => notes.merge("a", { whole: add(undefined) }),
    AddsAText: (_, { notes }) => notes.merge("a", { whole: add("1") }),
    ChangesAnUnknownColumn: (_, { notes }) => notes.patch("a", { nonsense: 1 }),
    FindsWithoutALimit: (_, { notes }) => notes.find({ whole: 1 }),
    TakesATextForAPair: (_, { pairs }) => pairs.get("left"),
    ReadsALargeNumber(_, { notes }) {
      notes.put({ id: "large", safe: 2n ** 53n });
      notes.get("large");
    },
    BreaksItsSchema: (_, { notes }) => notes.find({ fraction: 1 }, 10),
    Prints() {
      console.log("a text", 7, 7n, { list: [1, 2n] }, null, undefined, new Error("an error"));
      console.debug("below the level");
      console.error("in", "red");
    },
    /** Every operation once, where they work. */
    Works({ data, dataText, recordedAt, streamId, category, entityId, version }, { notes, pairs }) {
      notes.put({ id: "a", whole: data.whole, moment: recordedAt, document: { large: data.whole } });
      notes.put({ id: "b", whole: 7, safe: 7, octets: new Uint8Array([0, 255]), day: "1969-12-31" });
      notes.put({ id: "c", whole: 7, moment: new Date("1969-12-31T23:59:59.999Z") });
      const [a, none, b] = notes.getMany(["a", "none", "b"]);
      const found = notes.find({ whole: 7 }, 10).map(({ id }) => id);
      notes.patchWhere({ whole: 7 }, { fraction: add(0.5), safe: max(9) });
      pairs.merge({ left: "x", right: 1 }, { count: add(2n) });
      pairs.merge({ left: "x", right: 1 }, { count: add(-1) });
      pairs.put({ left: "y", right: 1, count: 0 });
      pairs.remove({ left: "y", right: 1 });
      notes.put({ id: "d", whole: 8 });
      notes.removeWhere({ whole: 8 });
      notes.put({
        id: "report",
        document: {
          whole: a.whole,
          json: a.document.value.large === data.whole,
          none: none === undefined,
          safe: b.safe,
          octets: [...b.octets],
          day: b.day,
          found,
          pair: pairs.get({ left: "x", right: 1 }).count,
          event: [streamId, category, entityId, version, dataText],
        },
      });
    },
  },
});
