// Runs the tests of abstract-level with one store, and writes their results as TAP: node
// packages/kv/dist/test/outside/abstract-level/suite.js STORE FOLDER
import { createRequire } from "node:module";
import { join } from "node:path";
import type { AbstractDatabaseOptions } from "abstract-level";
import { KvLevel } from "./kv-level.ts";
import { FAULTY_STORES, STORES } from "./stores.ts";

/** Neither the suite nor tape has types. */
const load = createRequire(import.meta.url);
const test = load("tape") as object;
const suite = load("abstract-level/test") as (options: {
  readonly test: object;
  readonly factory: (options?: AbstractDatabaseOptions<string, string>) => KvLevel;
}) => void;

const [, , name = "", folder = ""] = process.argv;
const provider = STORES[name] ?? FAULTY_STORES[name];
if (provider === undefined) throw new Error(`There is no store "${name}".`);
let made = 0;
suite({ test, factory: (options) => new KvLevel(provider, join(folder, String(made++)), options) });
