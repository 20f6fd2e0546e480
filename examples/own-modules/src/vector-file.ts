import { readFileSync, renameSync, writeFileSync } from "node:fs";
import type { Position } from "@cairn/node";

/** Vectors by the keys of their documents, as of a position. */
export interface Content {
  readonly position: Position | undefined;
  readonly vectors: ReadonlyMap<string, Float32Array>;
}

/** Replaces a file with another one: a line of JSON with the position and the keys, and then all vectors. */
export function writeContent(path: string, { position, vectors }: Content, dimensions: number): void {
  const floats = new Float32Array(vectors.size * dimensions);
  for (const [n, vector] of [...vectors.values()].entries()) floats.set(vector, n * dimensions);
  const head = JSON.stringify({ position, keys: [...vectors.keys()] });
  const bytes = Buffer.concat([Buffer.from(`${head}\n`), Buffer.from(floats.buffer)]);
  // Flushed before it has its name: after a power loss, the file is the one before or this one.
  writeFileSync(`${path}.new`, bytes, { flush: true });
  renameSync(`${path}.new`, path);
}

export function readContent(path: string, dimensions: number): Content {
  const bytes = readFileSync(path);
  const end = bytes.indexOf("\n");
  const head = JSON.parse(bytes.toString("utf8", 0, end)) as { position: Position; keys: string[] };
  const floats = new Float32Array(new Uint8Array(bytes.subarray(end + 1)).buffer);
  const vectorAt = (n: number): Float32Array => floats.subarray(n * dimensions, (n + 1) * dimensions);
  return { position: head.position, vectors: new Map(head.keys.map((key, n) => [key, vectorAt(n)])) };
}
