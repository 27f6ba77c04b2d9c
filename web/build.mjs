// Builds the pages into the Python package, or into the folder of the first argument: one script for each page, and one style.

import { copyFile, readFile, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { transform } from "lightningcss";
import { build } from "vite";

const HERE = import.meta.dirname;
const OUT = resolve(process.argv[2] ?? resolve(HERE, "../src/speculative/viewer"));
const STYLES = ["base", "chain", "report", "live"];
const SCRIPTS = { live: "live/main.tsx", show: "show/main.tsx", report: "report/main.ts", math: "view/math.ts" };

for (const [name, entry] of Object.entries(SCRIPTS)) {
  await build({
    root: HERE,
    configFile: false,
    logLevel: "warn",
    define: { "process.env.NODE_ENV": '"production"' },
    build: {
      outDir: OUT,
      emptyOutDir: false,
      copyPublicDir: false,
      target: "es2023",
      license: name === "math" ? { fileName: "math.LICENSE.md" } : false,
      lib: { entry: resolve(HERE, "src", entry), formats: ["es"], fileName: () => `${name}.js` },
      rolldownOptions: { output: { codeSplitting: false, minify: true } },
    },
  });
}
await copyFile(resolve(HERE, "src/index.html"), resolve(OUT, "index.html"));
const sheets = await Promise.all(STYLES.map((name) => readFile(resolve(HERE, "src/style", `${name}.css`))));
await writeFile(resolve(OUT, "style.css"), transform({ filename: "style.css", code: Buffer.concat(sheets), minify: true }).code);
