import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { pipeline, Readable } from "node:stream";
import { createGzip } from "node:zlib";
import { CairnError, systemErrorCode } from "@cairn/kv";
import { digestWhole, WHOLE_FILE_LIMIT } from "./file-digest.ts";
import { FileName } from "./checkpoint.ts";
import type { Manifest } from "./checkpoint.ts";
import { BLOCK, END_OF_ARCHIVE, NAME_LIMIT, paddingOf, writeHeader } from "./tar-format.ts";

/** What an archive holds; known when it was read to its end. */
export interface PackedArchive {
  readonly bytes: number;
  readonly sha256: string;
  readonly files: Manifest["files"];
}

/** How to pack. */
export interface PackOptions {
  readonly compression?: "none" | "gzip";
  /** Called now and then with the bytes of files packed so far. */
  readonly onProgress?: (bytes: number) => void;
}

/** An archive on its way: nothing is read before somebody reads `archive`, and no second copy is made on disk. */
export interface Packing {
  readonly archive: Readable;
  /** Throws before `archive` was read to its end. */
  result(): PackedArchive;
}

const CHUNK = 1024 * 1024;

/** Packs the plain files of `dir` into one tar archive, in name order, with the digests that its manifest needs. */
export function packDirectory(dir: string, options: PackOptions = {}): Packing {
  const files: Manifest["files"] = [];
  const digest = createHash("sha256");
  let bytes = 0;
  let sha256: string | undefined;

  async function* digested(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
    for await (const chunk of source) {
      digest.update(chunk);
      bytes += chunk.length;
      yield chunk;
    }
    sha256 = digest.digest("hex");
  }

  const plain = tarBlocks(dir, files, options.onProgress);
  const source = options.compression === "gzip" ? gzipped(plain) : plain;
  return {
    archive: Readable.from(digested(source), { objectMode: false, highWaterMark: 2 * CHUNK }),
    result() {
      if (sha256 === undefined) {
        throw new CairnError("CHECKPOINT_INCOMPLETE", "The archive was not read to its end.", {
          hint: "The upload stopped early; the next checkpoint begins anew.",
        });
      }
      return { bytes, sha256, files };
    },
  };
}

function gzipped(source: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  // LevelDB has compressed its tables already; the fastest level finds nearly all that is left.
  // Errors of the source reach the reader through the destroyed stream, so the callback has nothing to add.
  return pipeline(Readable.from(source, { objectMode: false }), createGzip({ level: 1 }), () => undefined);
}

async function* tarBlocks(
  dir: string,
  files: Manifest["files"],
  onProgress: PackOptions["onProgress"],
): AsyncGenerator<Buffer, void, undefined> {
  let done = 0;
  for (const name of (await readdir(dir)).toSorted()) {
    if (!FileName.safeParse(name).success || name.length > NAME_LIMIT) throw notPlain(name);
    const file = await openPlain(join(dir, name), name);
    try {
      const { size } = await file.stat();
      const step = size <= WHOLE_FILE_LIMIT ? WHOLE_FILE_LIMIT : CHUNK;
      const digest = createHash("sha256");
      let whole: Promise<string> | undefined;
      let at = 0;
      do {
        // Header and padding travel with the content: small pieces would each cost a write.
        const head = at === 0 ? BLOCK : 0;
        const length = Math.min(step, size - at);
        const tail = at + length === size ? paddingOf(size) : 0;
        const chunk = Buffer.allocUnsafeSlow(head + length + tail);
        const content = chunk.subarray(head, head + length);
        if (head > 0) writeHeader(chunk, name, size);
        await fill(file, content, name);
        chunk.fill(0, head + length);
        if (length === size) whole = digestWhole(content);
        else digest.update(content);
        at += length;
        done += length;
        yield chunk;
        onProgress?.(done);
      } while (at < size);
      files.push({ name, bytes: size, sha256: (await whole) ?? digest.digest("hex") });
    } finally {
      await file.close();
    }
  }
  yield Buffer.alloc(END_OF_ARCHIVE);
}

async function openPlain(path: string, name: string): Promise<Awaited<ReturnType<typeof open>>> {
  let file;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if (systemErrorCode(error) === "ELOOP") throw notPlain(name);
    throw error;
  }
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw notPlain(name);
}

async function fill(file: Awaited<ReturnType<typeof open>>, target: Buffer, name: string): Promise<void> {
  for (let at = 0; at < target.length;) {
    const { bytesRead } = await file.read(target, at, target.length - at, null);
    if (bytesRead === 0) {
      throw new CairnError("CHECKPOINT_INCOMPLETE", `${name} became shorter while it was packed.`, {
        hint: "The captured files must not change; the next checkpoint begins anew.",
      });
    }
    at += bytesRead;
  }
}

function notPlain(name: string): CairnError {
  return new CairnError(
    "CHECKPOINT_CORRUPT",
    `The capture holds ${JSON.stringify(name)}, which is not a plain file.`,
    {
      hint: "A checkpoint consists of plain files only; remove it from the captured directory.",
    },
  );
}
