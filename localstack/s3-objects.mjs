// The storage of the S3 service of this folder: bytes in files, everything else in memory and in a small file for each object.
import { createHash, randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

/** Opens the objects in `dir`. Unfinished uploads of an earlier process are removed. */
export async function openObjects(dir) {
  const data = join(dir, "data");
  const index = join(dir, "index");
  await mkdir(data, { recursive: true });
  await mkdir(index, { recursive: true });
  const objects = new Map();
  const uploads = new Map();
  const indexFile = (key) => join(index, `${createHash("sha256").update(key).digest("hex")}.json`);

  for (const name of await readdir(index)) {
    if (!name.endsWith(".json")) continue;
    const { key, ...object } = JSON.parse(await readFile(join(index, name), "utf8"));
    objects.set(key, object);
  }
  const used = new Set([...objects.values()].flatMap(({ pieces }) => pieces.map(({ file }) => file)));
  for (const file of await readdir(data)) if (!used.has(file)) await rm(join(data, file));

  const drop = (pieces) => Promise.all(pieces.map(({ file }) => rm(join(data, file), { force: true })));

  return {
    objects,
    uploads,
    /** Writes a body to a new file. Removes the file if the body is interrupted. */
    async take(body, expected) {
      const file = randomUUID();
      let size = 0;
      try {
        await pipeline(
          body,
          async function* counted(chunks) {
            for await (const chunk of chunks) {
              size += chunk.length;
              yield chunk;
            }
          },
          createWriteStream(join(data, file)),
        );
        if (size !== expected) throw new Error(`received ${size} of ${expected} bytes`);
      } catch (error) {
        await rm(join(data, file), { force: true });
        throw error;
      }
      return { file, size, etag: newTag() };
    },
    drop,
    /** Creates or replaces an object from pieces, atomically. */
    async keep(key, pieces, meta) {
      const before = objects.get(key);
      const size = pieces.reduce((sum, piece) => sum + piece.size, 0);
      const object = { pieces, size, etag: newTag(), at: Date.now(), meta };
      // This is set before anything is awaited, so that only one of several concurrent conditional writes succeeds.
      objects.set(key, object);
      const temporary = join(index, `${randomUUID()}.tmp`);
      await writeFile(temporary, JSON.stringify({ key, ...object }));
      await rename(temporary, indexFile(key));
      if (before !== undefined) await drop(before.pieces);
      return object;
    },
    async remove(key) {
      const object = objects.get(key);
      if (object === undefined) return;
      objects.delete(key);
      await rm(indexFile(key), { force: true });
      await drop(object.pieces);
    },
    /** Yields the bytes from `start` up to, but not including, `end`. */
    async *read({ pieces }, start, end) {
      let at = 0;
      for (const { file, size } of pieces) {
        const from = Math.max(start, at) - at;
        const to = Math.min(end, at + size) - at;
        at += size;
        if (to > from)
          yield* createReadStream(join(data, file), { start: from, end: to - 1, highWaterMark: 256 * 1024 });
      }
    },
  };
}

function newTag() {
  return `"${randomUUID().replaceAll("-", "")}"`;
}
