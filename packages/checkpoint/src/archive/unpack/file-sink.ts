import { corrupt } from "../archive-errors.ts";
import type { Manifest } from "../../store/checkpoint.ts";
import { fileWriter } from "./file-writer.ts";
import type { FilePiece, FileWriter } from "./file-writer.ts";
import { PieceMemory } from "../piece-memory.ts";

/** Where the files of an archive go. */
export interface FileSink {
  /** Memory for the next piece; {@link take} gives it back. */
  memory(): Promise<ArrayBuffer>;
  /** Takes a piece; it may be written later, and what that throws is thrown by a later call. */
  take(piece: FilePiece): Promise<void>;
  /** Waits until all would survive a power loss; throws what made one fail. */
  end(): Promise<void>;
}

/** Writes the files of `manifest` into `dir`; `CHECKPOINT_CORRUPT` for one whose SHA-256 is another. */
export function manifestWriter(dir: string, manifest: Manifest): FileWriter {
  const digests = new Map(manifest.files.map(({ name, sha256 }) => [name, sha256]));
  return fileWriter(dir, (name, sha256) => {
    if (digests.get(name) !== sha256) throw corrupt(manifest, `the SHA-256 of ${name} is another one`);
  });
}

/** Writes on this thread. */
export function sinkHere(writer: FileWriter): FileSink {
  const memory = new PieceMemory(1);
  return {
    memory: () => memory.take(),
    async take(piece) {
      await writer.write(piece);
      memory.giveBack(piece.memory);
    },
    end: () => writer.end(),
  };
}
