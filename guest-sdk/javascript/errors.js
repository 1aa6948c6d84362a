// What was thrown, as a message with the places in the author's own files.

/** How many callers an error names. */
const FRAMES_MAX = 6;
const CAUSES_MAX = 4;

/** Type, message and place of anything that can be thrown. */
export function explain(thrown) {
  try {
    return explained(thrown, CAUSES_MAX);
  } catch {
    return "something was thrown that cannot be shown";
  }
}

function explained(thrown, causes) {
  if (!(thrown instanceof Error)) {
    return `${shown(thrown)} (${kindOf(thrown)} was thrown and not an Error, so the place is not known)`;
  }
  const lines = [`${thrown.name}: ${thrown.message}`, ...frames(thrown.stack ?? "")];
  if (thrown.cause !== undefined && causes > 0) {
    lines.push(`caused by ${explained(thrown.cause, causes - 1)}`);
  }
  return lines.join("\n");
}

const kindOf = (value) =>
  value === null || value === undefined ? String(value) : `a value of type ${typeof value}`;

/** A value as a message shows it. */
export function shown(value) {
  switch (typeof value) {
    case "string":
      return value;
    case "bigint":
      return `${value}n`;
    case "object":
      return inspected(value);
    default:
      return String(value);
  }
}

function inspected(value) {
  try {
    const text = JSON.stringify(value, (_key, part) =>
      typeof part === "bigint" ? `${part}n` : part,
    );
    return text ?? String(value);
  } catch {
    return Object.prototype.toString.call(value);
  }
}

/** The calls in the author's files; those of the SDK and the engine help nobody. */
function frames(stack) {
  return stack
    .split("\n")
    .map(frame)
    .filter((line) => line !== undefined)
    .slice(0, FRAMES_MAX);
}

function frame(line) {
  const found = /^\s*at (?:(.*) \()?[^()]*:(\d+):(\d+)\)?$/.exec(line);
  const place = found && placeOf(Number(found[2]), Number(found[3]));
  if (!place) return undefined;
  return found[1] ? `    at ${found[1]} (${place})` : `    at ${place}`;
}

/**
 * Where a place in the bundle stands in the author's files. The build leaves a table: for each line
 * of the bundle, a list of [column, file, line, column in the file].
 */
function placeOf(line, column) {
  const { files, lines } = globalThis[Symbol.for("gnomon.places")] ?? { files: [], lines: [] };
  const segments = lines[line - 1] ?? [];
  const segment = segments.findLast(([from]) => from < column) ?? segments[0];
  return segment && `${files[segment[1]]}:${segment[2]}:${segment[3]}`;
}
