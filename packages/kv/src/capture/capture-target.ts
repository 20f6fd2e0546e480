import { constants } from "node:fs";
import { copyFile, link, readdir, readFile, rm, rmdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isLinkRefusal, makeFolder } from "../disk/folders.ts";
import { systemErrorCode } from "../errors/errors.ts";
import type { KvCapture } from "../store/kv-store.ts";

/** Separated so that a wrapper can intervene between the calls. They throw the errors of node:fs. */
export interface CaptureFileSystem {
  /** Creates the directory and its parents. Returns true if the directory did not exist before. */
  makeDirectory(path: string): Promise<boolean>;
  /** Returns the names in a directory, in no particular order. */
  list(path: string): Promise<string[]>;
  /** Reads a whole file. Used for CURRENT and manifests, which are small. */
  read(path: string): Promise<Uint8Array>;
  /** Writes a new file. Throws `EEXIST` if it exists, since it could be a link to a file that the source uses. */
  write(path: string, bytes: Uint8Array): Promise<void>;
  link(source: string, target: string): Promise<void>;
  /** Copies a file. `mode` accepts the flags of `copyFile` in node:fs. */
  copy(source: string, target: string, mode: number): Promise<void>;
  size(path: string): Promise<number>;
  /** Removes a file; does nothing if the file does not exist. */
  removeFile(path: string): Promise<void>;
  /** Removes a directory only if it is empty, so that foreign files are kept. */
  removeDirectory(path: string): Promise<void>;
}

export const captureFileSystem: CaptureFileSystem = {
  makeDirectory: async (path) => (await makeFolder(path)) !== undefined,
  list: (path) => readdir(path),
  read: (path) => readFile(path),
  write: (path, bytes) => writeFile(path, bytes, { flag: "wx" }),
  link: (source, target) => link(source, target),
  copy: (source, target, mode) => copyFile(source, target, mode),
  size: async (path) => (await stat(path)).size,
  removeFile: (path) => rm(path, { force: true }),
  removeDirectory: (path) => rmdir(path),
};

/** The directory that a capture fills. Keeps track of its files, to count them and to remove them after a failure. */
export class CaptureTarget {
  readonly #source: string;
  readonly #target: string;
  readonly #files: CaptureFileSystem;
  /** All files in the target, with their sizes. A failed capture must remove them. */
  readonly #bytes = new Map<string, number>();
  /** The tables, by whether they were linked or copied. The manifest, CURRENT and the logs are in neither set. */
  #linked = new Set<string>();
  #copied = new Set<string>();
  /** Whether to try links. False once the file system has refused a link for a reason that applies to every file. */
  #linksWork = true;

  constructor(source: string, target: string, files: CaptureFileSystem) {
    this.#source = source;
    this.#target = target;
    this.#files = files;
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
        await this.#files.link(join(this.#source, name), join(this.#target, name));
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
      await this.#files.copy(join(this.#source, name), join(this.#target, name), mode);
    } catch (error) {
      if (systemErrorCode(error) !== "ENOENT") throw error;
      await this.remove(name);
      return false;
    }
    this.#bytes.set(name, await this.#files.size(join(this.#target, name)));
    return true;
  }

  async write(name: string, bytes: Uint8Array): Promise<void> {
    this.#bytes.set(name, bytes.length);
    await this.#files.write(join(this.#target, name), bytes);
  }

  async remove(name: string): Promise<void> {
    await this.#files.removeFile(join(this.#target, name));
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
