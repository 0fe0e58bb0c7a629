// Keeps stdout for the protocol: everything that a library logs goes to stderr. Imported before any of them.
import { Console } from "node:console";

globalThis.console = new Console(process.stderr, process.stderr);
console.debug = () => {};
console.info = () => {};
