// Kills a node before a change to the files of its own indexes: node --import ./killed-node.js PROGRAM
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { isMainThread } from "node:worker_threads";

/** The thread, and the number of its change: `node 7` or `index 2`. */
const [thread, change] = (process.env["CAIRN_KILL_AT"] ?? "").split(" ");
const CHANGES = ["rename", "writeFile", "mkdir", "rmdir", "unlink"] as const;
/** In the db-dir, in a capture or a restore, and the index that is restored with them. Not the copy of the index. */
const FILES = /\/own(\/(?!.*copy\/)|$)|\.own(\/|$)|\/own-|\/live$/;

let left = thread === (isMainThread ? "node" : "index") ? Number(change) : 0;
function beforeChange(paths: readonly unknown[]): void {
  if (!paths.some((one) => typeof one === "string" && FILES.test(one))) return;
  left -= 1;
  if (left === 0) process.kill(process.pid, "SIGKILL");
}

type Change = (...args: unknown[]) => unknown;
function patch(module: object, name: string): void {
  const original = Reflect.get(module, name) as Change;
  const patched: Change = (...args) => {
    beforeChange(args);
    return original(...args);
  };
  Reflect.set(module, name, patched);
}
for (const name of CHANGES) {
  patch(fs.promises, name);
  patch(fs, `${name}Sync`);
}
patch(fs, "copyFileSync");
syncBuiltinESMExports();
