import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Json, Position } from "@cairn/client";
import { expect } from "vitest";
import type { IndexBatch, OwnIndex, OwnIndexContext, OwnIndexModule } from "../src/own-indexes/own-index.ts";
import { type BatchChange, CLEAR, complete, put } from "./own-index-batches.ts";

/** What {@link ownIndexSuite} needs to know of an index. */
export interface OwnIndexSuiteParts {
  readonly options?: Readonly<Record<string, unknown>>;
  /** The bucket whose documents the index contains. Defaults to `items`. */
  readonly bucket?: string;
  /** Returns a document of which the index keeps `n` and `word`. Defaults to an object with these two. */
  readonly document?: (n: number, word: string) => Json;
  /**
   * Returns what an index contains: by `namespace/name`, its document, or what the index keeps of it. `index` was opened
   * read-only, and `dir` has its files. Without it, indexes are compared by their digests alone.
   */
  readonly contents?: (index: OwnIndex, dir: string) => Promise<ReadonlyMap<string, unknown>>;
  /** Returns what the index keeps of a document. Defaults to the document itself. */
  readonly kept?: (document: Json) => unknown;
  /** The built module and its export, with which processes are killed while they change an index. */
  readonly module?: { readonly url: string; readonly export: string };
}

/** The documents that an index contains, by `namespace/name`, as they were put. */
export type Documents = ReadonlyMap<string, Extract<BatchChange, { op: "put" }>>;

/** The indexes of a test, each in a folder of its own. */
export class OwnIndexScene {
  readonly options: Readonly<Record<string, unknown>>;
  readonly bucket: string;
  readonly document: (n: number, word: string) => Json;
  readonly #create: OwnIndexModule;
  readonly parts: OwnIndexSuiteParts;
  readonly #opened = new Set<OwnIndex>();
  #folder = "";
  #folders = 0;

  constructor(create: OwnIndexModule, parts: OwnIndexSuiteParts) {
    const { options = {}, bucket = "items", document = (n, word) => ({ n, word }) } = parts;
    this.options = options;
    this.bucket = bucket;
    this.document = document;
    this.#create = create;
    this.parts = parts;
  }

  async start(): Promise<void> {
    this.#folder = await mkdtemp(join(tmpdir(), "cairn-own-index-"));
  }

  async end(): Promise<void> {
    for (const index of this.#opened) await this.close(index);
    await rm(this.#folder, { recursive: true });
  }

  async newDir(): Promise<string> {
    const dir = join(this.#folder, String((this.#folders += 1)));
    await mkdir(dir);
    return dir;
  }

  context(dir: string, readOnly = false): Omit<OwnIndexContext, "onNotice"> {
    return { name: "suite", version: 1, dir, readOnly };
  }

  async open(dir: string, readOnly = false): Promise<OwnIndex> {
    const index = await this.#create(this.options, { ...this.context(dir, readOnly), onNotice: () => {} });
    this.#opened.add(index);
    return index;
  }

  async close(index: OwnIndex): Promise<void> {
    this.#opened.delete(index);
    await index.close();
  }

  put(key: string, n: number, word = "word"): BatchChange {
    return put(`${this.bucket}/${key}`, this.document(n, word), n);
  }

  /** Returns the digest of a new index that is built from documents. */
  async digestOf(documents: Documents): Promise<string | undefined> {
    const index = await this.open(await this.newDir());
    await index.apply(complete("1-aaaaaaaaaaaa", ...buildOf(documents)));
    const digest = await index.digest?.();
    await this.close(index);
    return digest;
  }
}

/** Expects an index to have a position, and to contain exactly these documents, for readers as well. */
export async function expectContents(
  scene: OwnIndexScene,
  { index, dir }: { readonly index: OwnIndex; readonly dir: string },
  position: Position,
  documents: Documents,
): Promise<void> {
  expect(await index.position()).toBe(position);
  const { contents, kept = (document: Json): unknown => document } = scene.parts;
  if (contents !== undefined) {
    const reader = await scene.open(dir, true);
    const expected = new Map([...documents].map(([key, { json }]) => [key, kept(JSON.parse(json) as Json)]));
    expect(new Map(await contents(reader, dir))).toEqual(expected);
    await scene.close(reader);
  }
  if (index.digest !== undefined) expect(await index.digest()).toBe(await scene.digestOf(documents));
}

/** Returns the changes of a build, in key order. */
export function buildOf(documents: Documents): readonly BatchChange[] {
  return [
    CLEAR,
    ...[...documents].toSorted(([one], [other]) => (one < other ? -1 : 1)).map(([, change]) => change),
  ];
}

/** Returns `documents` after the changes. */
export function changed(documents: Documents, batches: readonly IndexBatch[]): Documents {
  const after = new Map(documents);
  for (const change of batches.flatMap(({ changes }) => changes)) {
    if (change.op === "put") after.set(`${change.namespace}/${change.name}`, change);
    else if (change.op === "delete") after.delete(`${change.namespace}/${change.name}`);
    else {
      const { namespace } = change;
      for (const key of after.keys())
        if (namespace === undefined || key.startsWith(`${namespace}/`)) after.delete(key);
    }
  }
  return after;
}
