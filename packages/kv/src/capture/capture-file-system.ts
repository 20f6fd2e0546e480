import { copyFile, link, readFile, readdir, rm, rmdir, stat, writeFile } from "node:fs/promises";
import { makeFolder } from "../disk/make-folder.ts";

/** The calls that a capture makes, so that a wrapper can put events between them. Errors are those of node:fs. */
export interface CaptureFileSystem {
  /** Makes the directory and those above it; whether it was not there before. */
  makeDirectory(path: string): Promise<boolean>;
  /** Names only, in no order. */
  list(path: string): Promise<string[]>;
  /** The whole file: for CURRENT and manifests, which are small. */
  read(path: string): Promise<Uint8Array>;
  /** Writes a new file; `EEXIST` where one is there, which could be a link to one that the source uses. */
  write(path: string, bytes: Uint8Array): Promise<void>;
  link(source: string, target: string): Promise<void>;
  /** `mode` takes the flags of `copyFile` in node:fs. */
  copy(source: string, target: string, mode: number): Promise<void>;
  size(path: string): Promise<number>;
  /** Fine when it is not there. */
  removeFile(path: string): Promise<void>;
  /** Only an empty one: what somebody else put there stays. */
  removeDirectory(path: string): Promise<void>;
}

/** The real file system. */
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
