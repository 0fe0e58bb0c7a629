// A Matrix client of another family as a program: requests come as JSON lines on stdin, answers and changes go out
// as JSON lines on stdout. One process is one device.
import "./quiet.mjs";

import { createInterface } from "node:readline";

import { Session } from "./session.mjs";
import * as files from "./files.mjs";
import * as rooms from "./rooms.mjs";
import * as timeline from "./timeline.mjs";
import * as trust from "./trust.mjs";
import * as verification from "./verification.mjs";

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const session = new Session(() => say({ changed: true }));
const VERBS = { ...files, ...rooms, ...timeline, ...trust, ...verification };

async function carryOut(verb, options) {
  if (["login", "start", "stop", "logout"].includes(verb)) return await session[verb](options);
  if (!Object.hasOwn(VERBS, verb)) throw new Error(`no such verb: ${verb}`);
  return await VERBS[verb](session, options);
}

async function answer({ id, verb, ...options }) {
  const begun = performance.now();
  const took = () => Math.round(performance.now() - begun);
  try {
    say({ id, result: (await carryOut(verb, options)) ?? null, took_ms: took() });
  } catch (error) {
    console.error(error);
    say({ id, error: { text: String(error?.message ?? error), code: error?.errcode ?? null }, took_ms: took() });
  }
}

// A promise of the library that fails unseen must not end the process: the tests look at what shows.
process.on("unhandledRejection", (error) => console.error("unhandled", error));

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => void answer(JSON.parse(line)));
// Without a parent there is nobody to work for.
lines.on("close", () => process.exit(0));
