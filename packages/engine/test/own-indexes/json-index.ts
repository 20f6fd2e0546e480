import { createHash } from "node:crypto";
import {
  existsSync,
  openSync,
  closeSync,
  copyFileSync,
  fsyncSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { IndexBatch, IndexCapture, OwnIndex, OwnIndexContext } from "../../src/own-indexes/own-index.ts";

interface Content {
  readonly position: string | undefined;
  /** The documents by their keys, each with its revision. */
  readonly documents: Readonly<Record<string, readonly [number, string]>>;
}

const FILE = "index.json";

/** The smallest index that fulfils the contract: one file, which each complete batch replaces. */
export function createJsonIndex(_options: object, { dir }: OwnIndexContext): OwnIndex {
  return new JsonIndex(dir);
}

class JsonIndex implements OwnIndex {
  readonly #dir: string;
  #content: Content = { position: undefined, documents: {} };
  #next: Map<string, readonly [number, string]> | undefined;

  constructor(dir: string) {
    this.#dir = dir;
    const path = join(dir, FILE);
    if (existsSync(path)) this.#content = JSON.parse(readFileSync(path, "utf8")) as Content;
  }

  position(): string | undefined {
    return this.#content.position;
  }

  apply({ position, complete, changes }: IndexBatch): void {
    const next = (this.#next ??= new Map(Object.entries(this.#content.documents)));
    for (const change of changes) {
      if (change.op === "put") next.set(`${change.namespace}/${change.name}`, [change.revision, change.json]);
      else if (change.op === "delete") next.delete(`${change.namespace}/${change.name}`);
      else {
        const { namespace } = change;
        for (const key of next.keys())
          if (namespace === undefined || key.startsWith(`${namespace}/`)) next.delete(key);
      }
    }
    if (!complete) return;
    this.#content = { position, documents: Object.fromEntries(next) };
    this.#next = undefined;
    const path = join(this.#dir, `${FILE}.new`);
    writeFileSync(path, JSON.stringify(this.#content));
    const file = openSync(path, "r");
    fsyncSync(file);
    closeSync(file);
    renameSync(path, join(this.#dir, FILE));
  }

  capture(dir: string): IndexCapture {
    copyFileSync(join(this.#dir, FILE), join(dir, FILE));
    return { copied: Promise.resolve() };
  }

  purge(): void {
    // Each complete batch has replaced the file.
  }

  digest(): string {
    const sorted = Object.entries(this.#content.documents).toSorted(([one], [other]) =>
      one < other ? -1 : 1,
    );
    return createHash("sha256").update(JSON.stringify(sorted)).digest("hex");
  }

  close(): void {
    // Nothing is open between two calls.
  }
}
