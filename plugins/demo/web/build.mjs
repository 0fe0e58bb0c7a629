// Bundles the page into the folder of the package that serves it.
//
//   node plugins/demo/web/build.mjs
import { cpSync, mkdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "../surfaces_demo/page");
const wasm = createRequire(import.meta.url)
  .resolve("@matrix-org/matrix-sdk-crypto-wasm")
  .replace(/[^/\\]*$/, "pkg/matrix_sdk_crypto_wasm_bg.wasm");

rmSync(out, { recursive: true, force: true });
mkdirSync(join(out, "pkg"), { recursive: true });
await build({
  entryPoints: [join(here, "src/main.tsx"), join(here, "src/page.css")],
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  loader: { ".woff2": "file" },
  assetNames: "[name]",
  legalComments: "linked",
  define: { global: "globalThis" },
  logLevel: "warning",
});
// The encryption library looks for its other half beside itself.
cpSync(wasm, join(out, "pkg/matrix_sdk_crypto_wasm_bg.wasm"));
for (const file of ["index.html", "icon.svg"]) cpSync(join(here, "src", file), join(out, file));
