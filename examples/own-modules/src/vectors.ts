import { createHash } from "node:crypto";
import { copyFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { CairnError } from "@cairn/kv";
import type {
  IndexBatch,
  IndexCapture,
  IndexQuery,
  OwnIndex,
  OwnIndexContext,
  QueryAnswer,
} from "@cairn/node";
import { type Content, readContent, writeContent } from "./vector-file.ts";

const FILE = "vectors";

/** Finds the documents whose member `field`, a list of numbers, is nearest to another list. */
export function createVectors(
  options: Readonly<Record<string, unknown>>,
  { dir }: OwnIndexContext,
): OwnIndex {
  const { field, dimensions, ...unknown } = options;
  if (typeof field === "string" && typeof dimensions === "number" && Object.keys(unknown).length === 0)
    return new VectorIndex(field, dimensions, dir);
  throw new CairnError("CONFIG_INVALID", "An index of vectors has a field and a number of dimensions.");
}

/** Has one file, which each complete batch replaces: so its position and its content are always of the same batch. */
class VectorIndex implements OwnIndex {
  readonly #field: string;
  readonly #dimensions: number;
  readonly #dir: string;
  #content: Content = { position: undefined, vectors: new Map() };
  /** What batches that are not complete have made of the vectors. */
  #next: Map<string, Float32Array> | undefined;
  /** The file that was read last. */
  #read = "";

  constructor(field: string, dimensions: number, dir: string) {
    this.#field = field;
    this.#dimensions = dimensions;
    this.#dir = dir;
    this.#load();
  }

  position(): string | undefined {
    return this.#content.position;
  }

  apply({ position, complete, changes }: IndexBatch): void {
    const next = (this.#next ??= new Map(this.#content.vectors));
    for (const change of changes) {
      const { bucket, namespace } = change;
      if (change.op === "clear") {
        const prefix = [bucket, namespace]
          .flatMap((part) => (part === undefined ? [] : [`${part}/`]))
          .join("");
        for (const key of next.keys()) if (key.startsWith(prefix)) next.delete(key);
        continue;
      }
      const document =
        change.op === "put" ? (JSON.parse(change.json) as Record<string, unknown> | null) : null;
      const vector = this.#vector(document?.[this.#field]);
      const key = `${bucket}/${namespace}/${change.name}`;
      // A document without a vector is not found.
      if (vector === undefined) next.delete(key);
      else next.set(key, vector);
    }
    if (!complete) return;
    writeContent(join(this.#dir, FILE), { position, vectors: next }, this.#dimensions);
    this.#content = { position, vectors: next };
    this.#next = undefined;
  }

  capture(dir: string): IndexCapture {
    copyFileSync(join(this.#dir, FILE), join(dir, FILE));
    return { copied: Promise.resolve() };
  }

  purge(): void {
    // Each complete batch has replaced the file.
  }

  digest(): string {
    const hash = createHash("sha256");
    const sorted = [...this.#content.vectors].toSorted(([one], [other]) => (one < other ? -1 : 1));
    for (const [key, vector] of sorted) hash.update(JSON.stringify([key, ...vector]));
    return hash.digest("hex");
  }

  /** Runs in a process of its own, in which nothing is applied. */
  query({ text, args }: IndexQuery): QueryAnswer {
    const [list, count = 10] = Array.isArray(args) ? args : [];
    const to = this.#vector(list);
    if (text !== "nearest" || to === undefined || typeof count !== "number")
      throw new CairnError("REQUEST_INVALID", `The query is: nearest, ${this.#dimensions} numbers, a count.`);
    this.#load();
    const { position = "0", vectors } = this.#content;
    const found = [...vectors].map(([key, vector]) => [key, distance(vector, to)] as const);
    const nearest = found.toSorted(([, one], [, other]) => one - other).slice(0, count);
    return { position, columns: ["key", "distance"], rows: nearest };
  }

  close(): void {
    // Nothing is open between two calls.
  }

  #vector(value: unknown): Float32Array | undefined {
    const isVector =
      Array.isArray(value) && value.length === this.#dimensions && value.every(Number.isFinite);
    return isVector ? Float32Array.from(value as number[]) : undefined;
  }

  #load(): void {
    const path = join(this.#dir, FILE);
    const found = statSync(path, { bigint: true, throwIfNoEntry: false });
    const read = `${found?.ino} ${found?.mtimeNs}`;
    if (found === undefined || read === this.#read) return;
    this.#content = readContent(path, this.#dimensions);
    this.#read = read;
  }
}

function distance(one: Float32Array, other: Float32Array): number {
  let sum = 0;
  for (let n = 0; n < one.length; n += 1) sum += ((one[n] ?? 0) - (other[n] ?? 0)) ** 2;
  return Math.sqrt(sum);
}
