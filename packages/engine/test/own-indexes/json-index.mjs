import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { spawnSync } from "node:child_process";
import path from "node:path";

/**
 * An index of one's own in one JSON file, for tests. Options: `failOn`, the name of a document that it cannot index;
 * `hold`, a file while which exists nothing is applied; `trace`, a file to which it adds a line for each build and
 * purge, and when it is held; `isBare`, whether it can only do what it must; `isTorn`, whether its captures are incomplete;
 * `leaves`, a `folder`, a `link` or a `name` that its captures contain besides; `exitsOn`, the name of a document at which its thread ends;
 * `isMute`, whether it does not report when its captures are complete; `isShy`, whether its captures throw; `forgets`, the name of a document that it indexes
 * only when it is built; `hangs`, the call that never returns (`open`, `capture` or `purge`), or `native` for a process that it
 * waits for, whose id is in `trace`.
 */
export async function create(
  { failOn, hold, trace, isBare, isTorn, leaves, exitsOn, isMute, isShy, forgets, hangs },
  { dir },
) {
  if (hangs === "open") await new Promise(() => {});
  const note = (what) => trace !== undefined && appendFileSync(trace, `${what}\n`);
  const file = path.join(dir, "index.json");
  const stored = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : { documents: {} };
  const documents = new Map(Object.entries(stored.documents));
  let { position } = stored;
  let isBuilding = false;
  const isHeld = () => hold !== undefined && existsSync(hold);
  const needed = {
    position: () => position,
    async apply(batch) {
      if (isHeld()) note("held");
      if (hangs === "native") spawnSync("sh", ["-c", `echo $$ > ${trace}; exec sleep 600`]);
      while (isHeld()) await new Promise((resolve) => setTimeout(resolve, 5));
      for (const change of batch.changes) {
        const key = `${change.bucket} ${change.namespace}/${change.name}`;
        if (change.op === "put" && change.name === failOn) throw new Error(`it cannot index ${key}`);
        if (exitsOn !== undefined && change.name === exitsOn) process.exit();
        if (forgets !== undefined && change.name === forgets && !isBuilding) continue;
        if (change.op === "put") documents.set(key, `${change.revision} ${change.json}`);
        else if (change.op === "delete") documents.delete(key);
        else if (change.bucket === undefined) {
          note("build");
          isBuilding = true;
          documents.clear();
        } else {
          const begin = `${change.bucket} ${change.namespace === undefined ? "" : `${change.namespace}/`}`;
          for (const one of documents.keys()) if (one.startsWith(begin)) documents.delete(one);
        }
      }
      if (!batch.complete) return;
      isBuilding = false;
      position = batch.position;
      const content = JSON.stringify({ position, documents: Object.fromEntries(documents) });
      writeFileSync(`${file}.new`, content, { flush: true });
      renameSync(`${file}.new`, file);
    },
    close: () => {},
  };
  if (isBare) return needed;
  return {
    ...needed,
    capture: (to) => {
      if (hangs === "capture") return new Promise(() => {});
      if (isShy) throw new Error("it is not captured");
      copyFileSync(file, path.join(to, "index.json"));
      if (leaves === "folder") mkdirSync(path.join(to, "more"));
      if (leaves === "link") symlinkSync("index.json", path.join(to, "more"));
      if (leaves === "name") writeFileSync(path.join(to, "more files"), "");
      if (isTorn) truncateSync(path.join(to, "index.json"), 9);
      return isMute ? undefined : { copied: Promise.resolve() };
    },
    digest: () => JSON.stringify([...documents].toSorted(([a], [b]) => (a < b ? -1 : 1))),
    purge: () => {
      note("purge");
      if (hangs === "purge") return new Promise(() => {});
    },
    query: () => ({ position, columns: ["key", "document"], rows: documents.entries() }),
  };
}
