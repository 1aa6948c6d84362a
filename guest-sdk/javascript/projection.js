// A projection, and the component that it becomes.

import { explain } from "./errors.js";
import { Event } from "./event.js";
import { enterCall, printEarlyLines } from "./globals.js";
import { areTexts, isUnsigned32 } from "./primitives.js";
import { Table, schemaOf } from "./table.js";

/** The handler of the events that no other handler reads. */
const ANY = "*";

export function projection(declared) {
  const { name, version, tables, on, categories = [], metadata = false } = declared;
  // At the boundary a value of another type could only trap.
  check(typeof name === "string", "name is not a text");
  check(isUnsigned32(version), "version is not a whole number from 0");
  check(areTexts(categories), "categories is not a list of texts");
  check(typeof metadata === "boolean", "metadata is not a boolean");
  check(tables && typeof tables === "object", "tables is not an object of tables");
  check(on && typeof on === "object", "on is not an object of functions");
  for (const [type, handler] of Object.entries(on)) {
    check(typeof handler === "function", `on.${type} is not a function`);
  }
  return { name, version, tables, on, categories, metadata };
}

function check(holds, otherwise) {
  if (!holds) throw new TypeError(`projection: ${otherwise}`);
}

/** The exports of the component. */
export function component({ name, version, tables, on, categories, metadata }) {
  const declaredTables = Object.entries(tables);
  const opened = Object.fromEntries(
    declaredTables.map(([name, table]) => [name, new Table(name, table)]),
  );
  const handlers = new Map(Object.entries(on));
  const description = {
    name,
    version,
    subscription: {
      eventTypes: handlers.has(ANY) ? [] : [...handlers.keys()],
      categories,
      metadata,
    },
    tables: declaredTables.map(([name, table]) => schemaOf(name, table)),
  };

  function applyOne(event) {
    const handler = handlers.get(event.type) ?? handlers.get(ANY);
    if (typeof handler?.(event, opened)?.then === "function") {
      throw new TypeError("the handler is asynchronous, and a projection has nothing to wait for");
    }
  }

  return {
    describe() {
      enterCall();
      printEarlyLines();
      return description;
    },
    apply(events) {
      enterCall();
      for (const event of events) {
        try {
          applyOne(new Event(event));
        } catch (thrown) {
          const message = `${event.eventType}: ${explain(thrown)}`.toWellFormed();
          throw { position: event.position, message };
        }
      }
    },
  };
}
