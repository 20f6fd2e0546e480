import { resolve } from "node:path";
import { type CheckpointStore, encryptedStore, readEncryption } from "@cairn/checkpoint";
import type { Terminal } from "../terminal/terminal.ts";
import { UsageError } from "../terminal/report-error.ts";
import { CONFIGURATION_OPTIONS } from "../options/configuration.ts";
import { flag, type OptionValues, textValue } from "../options/option-specs.ts";

export const KEY_OPTIONS = {
  keyFile: textValue(
    "<file>",
    "the identities of age that decrypt the folder or bucket; a configured store has its own encryption",
  ),
  acceptPlain: flag("with --key-file: also use files that are not encrypted"),
};

export const STORE_OPTIONS = { ...CONFIGURATION_OPTIONS, ...KEY_OPTIONS };

export type StoreKeyOptions = Partial<OptionValues<typeof KEY_OPTIONS>>;

/** Returns the store with the keys that the command line names; the store itself if it names none. */
export async function withKeys(
  store: CheckpointStore,
  { keyFile, acceptPlain = false }: StoreKeyOptions,
  terminal: Pick<Terminal, "cwd">,
): Promise<CheckpointStore> {
  if (keyFile !== undefined)
    return encryptedStore(store, await readEncryption(resolve(terminal.cwd, keyFile), { acceptPlain }));
  if (!acceptPlain) return store;
  throw new UsageError("--accept-plain has no meaning without --key-file.", "Add --key-file, or remove it.");
}
