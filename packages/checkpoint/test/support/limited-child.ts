// This process may not write large files. It saves to one store, restores from another, and prints the errors.
// node limited-child.js DIR STORE
import { join } from "node:path";
import { isCairnError } from "@cairn/kv";
import { filesystemStore } from "../../src/index.ts";
import { restore, take } from "@cairn/test-support/stores/rounds";
import { testSource } from "@cairn/test-support/stores/test-source";

async function failureOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "none";
  } catch (error) {
    if (isCairnError(error)) return `${error.code}: ${error.message} ${error.hint}`;
    throw error;
  }
}

const [, , dir = "", path = ""] = process.argv;
const source = testSource();
source.files = { "000001.ldb": Buffer.alloc(40_000, "a"), "000002.ldb": Buffer.alloc(40_000, "b") };
const saving = await failureOf(take(filesystemStore({ path: join(dir, "full") }), source, dir));
const restoring = await failureOf(restore([filesystemStore({ path })], dir));
process.stdout.write(JSON.stringify({ saving, restoring }));
