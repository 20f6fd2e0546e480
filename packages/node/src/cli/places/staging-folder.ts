import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { CairnError, diskError, systemErrorCode } from "@cairn/kv";
import type { Terminal } from "../terminal/terminal.ts";

/**
 * Creates a folder in the folder that `--staging` names, or in the temporary folder by default. Throws `CONFIG_INVALID`
 * or `DISK_FULL`.
 */
export async function stagingFolder(
  asked: string | undefined,
  prefix: string,
  terminal: Terminal,
): Promise<string> {
  const parent = asked === undefined ? tmpdir() : resolve(terminal.cwd, asked);
  try {
    return await mkdtemp(join(parent, prefix));
  } catch (error) {
    if (systemErrorCode(error) !== "ENOENT") throw diskError(error, parent);
    throw new CairnError("CONFIG_INVALID", `The staging folder ${parent} does not exist.`, {
      hint: "Create the folder, or name another one with --staging. The default is the temporary folder (TMPDIR).",
      cause: error,
    });
  }
}
