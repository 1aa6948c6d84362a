// The globals that a projection has beyond ECMAScript's, and those that it must not use: there is
// no clock and no randomness, and the engine could only trap.

import { write } from "gnomon:projection/log@0.1.0";

import { explain, shown } from "./errors.js";

/** What was printed while the module was loaded, at build time, when there was no host yet. */
const early = [];
let isCalled = false;

/** From now on there is a host to print to. */
export function enterCall() {
  isCalled = true;
}

/** Prints what was printed at build time. */
export function printEarlyLines() {
  for (const [level, line] of early) write(level, line);
}

function printer(level) {
  return (...parts) => {
    const line = parts
      .map((part) => (part instanceof Error ? explain(part) : shown(part)))
      .join(" ")
      .toWellFormed();
    if (isCalled) write(level, line);
    else early.push([level, line]);
  };
}

globalThis.console = {
  trace: printer("trace"),
  debug: printer("debug"),
  log: printer("info"),
  info: printer("info"),
  warn: printer("warn"),
  error: printer("error"),
};

function noClock() {
  throw new Error("a projection has no clock; the time of an event is event.recordedAt");
}

const EngineDate = Date;
EngineDate.now = noClock;
globalThis.Date = new Proxy(EngineDate, {
  construct: (target, parameters, newTarget) =>
    parameters.length === 0 ? noClock() : Reflect.construct(target, parameters, newTarget),
  apply: noClock,
});
EngineDate.prototype.constructor = globalThis.Date;

globalThis.performance = { now: noClock };

Math.random = () => {
  throw new Error("a projection has no randomness: the same events must give the same rows");
};
