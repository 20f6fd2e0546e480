import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { CairnError, diskError, systemErrorCode, unlessFailed } from "@cairn/kv";
import type { CommandRun } from "../options/command.ts";
import { textValue } from "../options/option-specs.ts";

export const STAGING = textValue(
  "<directory>",
  "the folder for temporary copies (default: the temporary folder)",
);

/** Creates a folder for the run in `--staging` or the temporary folder. Throws `CONFIG_INVALID` or `DISK_FULL`. */
export async function stagingFolder(
  run: CommandRun<{ readonly staging?: string | undefined }>,
  prefix: string,
): Promise<string> {
  const { staging } = run.options;
  const parent = staging === undefined ? tmpdir() : resolve(run.terminal.cwd, staging);
  try {
    return removedAtEnd(run, await mkdtemp(join(parent, prefix)));
  } catch (error) {
    if (systemErrorCode(error) !== "ENOENT") throw diskError(error, parent);
    throw new CairnError("CONFIG_INVALID", `The staging folder ${parent} does not exist.`, {
      hint: "Create the folder, or name another one with --staging. The default is the temporary folder (TMPDIR).",
      cause: error,
    });
  }
}

/** Returns a new folder name for the run, next to a target so that the last step of a restore can be a rename. */
export function workFolder(run: CommandRun, parent: string, purpose: string): string {
  return removedAtEnd(run, join(parent, `.cairn-${purpose}-${randomBytes(4).toString("hex")}`));
}

export function removedAtEnd(run: CommandRun, folder: string): string {
  // If a parent is a file, nothing was created, and the error that reports this must not be replaced.
  run.defer(() => unlessFailed(rm(folder, { recursive: true, force: true }), "ENOTDIR", undefined));
  return folder;
}
