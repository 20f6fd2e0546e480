import { open } from "node:fs/promises";
import { systemErrorCode } from "../errors/errors.ts";

/** What file systems that cannot flush a folder answer; there it is done with the file. */
const NO_FOLDER_SYNC = new Set(["EINVAL", "ENOTSUP", "EISDIR", "EPERM"]);

/** Makes names in a folder survive a power loss. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } catch (error) {
    if (!NO_FOLDER_SYNC.has(systemErrorCode(error) ?? "")) throw error;
  } finally {
    await handle.close();
  }
}

/** Makes the content of a file survive a power loss. */
export async function syncFile(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
