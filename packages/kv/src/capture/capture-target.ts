import { constants } from "node:fs";
import { copyFile, link, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isLinkRefusal } from "../disk/folders.ts";
import { systemErrorCode } from "../errors/errors.ts";
import type { KvCapture } from "../store/kv-store.ts";

/** The calls of a capture with which a wrapper can interfere. They throw the errors of node:fs. */
export const captureFileSystem = {
  list: async (path: string): Promise<string[]> => await readdir(path),
  read: async (path: string): Promise<Uint8Array> => await readFile(path),
  /** Throws `EEXIST` if the file exists, since it could be a link to a file that the source uses. */
  write: async (path: string, bytes: Uint8Array): Promise<void> =>
    await writeFile(path, bytes, { flag: "wx" }),
  link: async (source: string, target: string): Promise<void> => await link(source, target),
  copy: async (source: string, target: string, mode: number): Promise<void> =>
    await copyFile(source, target, mode),
};

export type CaptureFileSystem = typeof captureFileSystem;

/** The directory that a capture fills. Keeps track of its files, to count them and to remove them after a failure. */
export class CaptureTarget {
  readonly source: string;
  readonly files: CaptureFileSystem;
  readonly #target: string;
  /** All files in the target, with their sizes. A failed capture must remove them. */
  readonly #bytes = new Map<string, number>();
  /** The tables, by whether they were linked or copied. The manifest, CURRENT and the logs are in neither set. */
  #linked = new Set<string>();
  #copied = new Set<string>();
  /** Whether to try links. False once the file system has refused a link for a reason that applies to every file. */
  #linksWork = true;

  constructor(source: string, target: string, files: CaptureFileSystem) {
    this.source = source;
    this.files = files;
    this.#target = target;
  }

  has(name: string): boolean {
    return this.#bytes.has(name);
  }

  names(): string[] {
    return [...this.#bytes.keys()];
  }

  /** Shares a file that no longer changes. Returns false if the source no longer contains the file. */
  async share(name: string, bytes: number): Promise<boolean> {
    if (this.#linksWork) {
      try {
        await this.files.link(join(this.source, name), join(this.#target, name));
        this.#bytes.set(name, bytes);
        this.#linked.add(name);
        return true;
      } catch (error) {
        const code = systemErrorCode(error);
        if (code === "ENOENT") return false;
        if (!isLinkRefusal(error)) throw error;
        // A link limit applies to one file; any other refusal applies to every file.
        if (code !== "EMLINK") this.#linksWork = false;
      }
    }
    // The copy shares blocks with the source if the file system supports that. Otherwise, it is a plain copy.
    if (!(await this.copy(name, constants.COPYFILE_FICLONE))) return false;
    this.#copied.add(name);
    return true;
  }

  /**
   * The copy is at least as long as the file was at the call. Returns false if the source no longer contains the file.
   */
  async copy(name: string, mode = 0): Promise<boolean> {
    // The file is recorded before it is complete, so that an incomplete copy is removed as well.
    this.#bytes.set(name, 0);
    try {
      await this.files.copy(join(this.source, name), join(this.#target, name), mode);
    } catch (error) {
      if (systemErrorCode(error) !== "ENOENT") throw error;
      await this.remove(name);
      return false;
    }
    this.#bytes.set(name, (await stat(join(this.#target, name))).size);
    return true;
  }

  async write(name: string, bytes: Uint8Array): Promise<void> {
    this.#bytes.set(name, bytes.length);
    await this.files.write(join(this.#target, name), bytes);
  }

  async remove(name: string): Promise<void> {
    await rm(join(this.#target, name), { force: true });
    this.#bytes.delete(name);
    this.#linked.delete(name);
    this.#copied.delete(name);
  }

  summary(): KvCapture {
    let bytes = 0;
    for (const size of this.#bytes.values()) bytes += size;
    return { linked: this.#linked.size, copied: this.#copied.size, bytes };
  }
}
