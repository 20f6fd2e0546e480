import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { CairnError, diskError, systemErrorCode } from "@cairn/kv";
import type { Terminal } from "../terminal/terminal.ts";

/** A new folder in the one that `--staging` names, else in the temporary one. `CONFIG_INVALID`, `DISK_FULL`. */
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
    throw new CairnError("CONFIG_INVALID", `There is no folder ${parent} to unpack into.`, {
      hint: "Make it, or name another one with --staging; without it the temporary folder is taken (TMPDIR).",
      cause: error,
    });
  }
}
