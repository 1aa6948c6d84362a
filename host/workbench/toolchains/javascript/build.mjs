// From an npm package to a component: build.mjs PACKAGE MAIN SDK WIT OUTPUT
//
// `gnomon build` runs it in the folder where the tools of package.json are installed.

import { readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";

import { componentize } from "componentize-qjs";
import { build } from "esbuild";

import { decodeMappings } from "./mappings.mjs";

const [directory, main, sdk, wit, output] = process.argv.slice(2);

const entry = `
import projection from ${JSON.stringify(join(directory, main))};
import { component } from ${JSON.stringify(join(sdk, "projection.js"))};
const { describe, apply } = component(projection);
export { describe, apply };
`;

/** Bundles the author's modules, those that they depend on, and the SDK into one. */
async function bundle() {
  const { outputFiles } = await build({
    // The SDK comes first: it takes the clock away before an author's module runs.
    stdin: { contents: `import ${JSON.stringify(join(sdk, "index.js"))};${entry}`, resolveDir: directory },
    absWorkingDir: directory,
    alias: { gnomon: join(sdk, "index.js") },
    bundle: true,
    charset: "utf8",
    external: ["gnomon:*"],
    format: "esm",
    legalComments: "none",
    logLevel: "warning",
    mainFields: ["module", "main"],
    outfile: "bundle.js",
    platform: "neutral",
    sourcemap: "external",
    sourcesContent: false,
    target: "esnext",
    write: false,
  });
  const text = (end) => outputFiles.find(({ path }) => path.endsWith(end)).text;
  return { code: text(".js"), map: JSON.parse(text(".map")) };
}

/**
 * For each line of the bundle, the places of the author's files that it comes from. The SDK's own
 * are left out: an error's place is where the author's code met it.
 */
function placesOf({ mappings, sources }) {
  const files = sources.map((source) => relative(directory, join(directory, source)));
  const sdkFiles = relative(directory, sdk) + sep;
  const isAuthors = files.map((file) => !file.startsWith(sdkFiles) && file !== "<stdin>");
  const lines = decodeMappings(mappings).map((segments) =>
    segments.filter(([, source]) => isAuthors[source]),
  );
  return { files, lines };
}

function place({ files, lines }, line, column) {
  const segments = lines[line - 1] ?? [];
  const segment = segments.findLast(([from]) => from < column) ?? segments[0];
  return segment && `${files[segment[1]]}:${segment[2]}:${segment[3]}`;
}

/** What went wrong while the module was loaded, with places of the author's files. */
function withPlaces(message, places) {
  return message.replace(/(?<=\(|at )[^()\n]*:(\d+):(\d+)/g, (whole, line, column) => {
    const found = place(places, Number(line), Number(column));
    return found ?? whole;
  });
}

async function run() {
  const { code, map } = await bundle();
  const places = placesOf(map);
  // On one line with the first of the bundle, whose lines keep their numbers.
  const table = `globalThis[Symbol.for("gnomon.places")]=${JSON.stringify(places)};`;
  const runtime = await readFile(join(dirname(new URL(import.meta.url).pathname), "runtime.wasm"));
  try {
    const { component } = await componentize({
      witPath: wit,
      world: "projection",
      jsSource: code + table,
      stubWasi: true,
      runtimeBytes: runtime,
    });
    await writeFile(output, component);
  } catch (error) {
    const said = error.message.replace(/^.*module evaluation: /s, "the module cannot be loaded: ");
    console.error(withPlaces(said, places));
    process.exitCode = 1;
  }
}

// esbuild has printed what it does not like.
await run().catch((error) => {
  if (!error.errors) console.error(error);
  process.exitCode = 1;
});
