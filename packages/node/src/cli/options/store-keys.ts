import { resolve } from "node:path";
import { type CheckpointStore, encryptedStore, readEncryption } from "@cairn/checkpoint";
import type { Command } from "commander";
import type { Terminal } from "../terminal/terminal.ts";
import { UsageError } from "../terminal/report-error.ts";

export interface StoreKeyOptions {
  /** The path of the key file, relative to the working directory. */
  readonly keyFile?: string;
  readonly acceptPlain?: boolean;
}

export function keyOptions(command: Command): Command {
  return command
    .option(
      "--key-file <file>",
      "the identities of age that decrypt the folder or bucket; a configured store has its own encryption",
    )
    .option("--accept-plain", "with --key-file: also use files that are not encrypted");
}

/** Returns the store with the keys that the command line names; the store itself if it names none. */
export async function withKeys(
  store: CheckpointStore,
  { keyFile, acceptPlain }: StoreKeyOptions,
  terminal: Pick<Terminal, "cwd">,
): Promise<CheckpointStore> {
  if (keyFile !== undefined) {
    return encryptedStore(
      store,
      await readEncryption(resolve(terminal.cwd, keyFile), { acceptPlain: acceptPlain === true }),
    );
  }
  if (acceptPlain !== true) return store;
  throw new UsageError("--accept-plain has no meaning without --key-file.", "Add --key-file, or remove it.");
}
