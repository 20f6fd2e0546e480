import { constants } from "node:fs";
import { join } from "node:path";
import type { CaptureFileSystem } from "./capture-file-system.ts";
import { systemErrorCode } from "../errors/errors.ts";
import type { KvCapture } from "../store/kv-store.ts";

// File systems without hard links, links between two of them, too many links to one file, links forbidden.
const LINK_REFUSED = new Set(["EXDEV", "EMLINK", "EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"]);

/** The directory that a capture fills: knows what was put there, so that it can be counted and taken back. */
export class CaptureTarget {
  readonly #source: string;
  readonly #target: string;
  readonly #files: CaptureFileSystem;
  /** Everything put into the target and not taken back, with its size: what a failed capture has to remove. */
  readonly #bytes = new Map<string, number>();
  /** Of those, the tables; manifest, CURRENT and logs are in neither. */
  #linked = new Set<string>();
  #copied = new Set<string>();
  /** False once the file system has refused a link for a reason that holds for every file. */
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

  /** Shares a file that nobody writes to any more; false when it is gone from the source. */
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
        if (code === undefined || !LINK_REFUSED.has(code)) throw error;
        // A limit of links concerns one file; the other refusals would only be repeated for every file.
        if (code !== "EMLINK") this.#linksWork = false;
      }
    }
    // Shares the blocks where the file system can; elsewhere this is a plain copy.
    if (!(await this.copy(name, constants.COPYFILE_FICLONE))) return false;
    this.#copied.add(name);
    return true;
  }

  /** Copies a file as long as it is at the call, or longer; false when it is gone from the source. */
  async copy(name: string, mode = 0): Promise<boolean> {
    // Noted before it is whole, so that a copy that fails in the middle is taken back too.
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
