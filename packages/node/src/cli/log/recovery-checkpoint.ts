import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { type CheckpointStore, type Manifest, parseCheckpointName } from "@cairn/checkpoint";
import { CairnError, isCairnError, makeFolder } from "@cairn/kv";
import { allStores, isOwnStore, restoreStores } from "../../checkpoints/checkpoint-stores.ts";
import type { System } from "../../api/system.ts";
import { chooseCheckpoint, withCheckpointPlace } from "../places/checkpoint-place.ts";
import { restoreNamed } from "../places/restored-checkpoint.ts";
import type { StoreKeyOptions } from "../options/store-keys.ts";
import { UsageError } from "../terminal/report-error.ts";
import type { Terminal } from "../terminal/terminal.ts";

/** The checkpoint with which a new log begins, after it has been read back completely. */
interface Survivor {
  readonly name: string;
  readonly store: string;
  readonly manifest: Manifest;
}

/** Nodes of the new log can begin only with the checkpoint that `from` names, so it is read back and opened. */
export async function findSurvivor(
  system: System,
  from: string,
  keys: StoreKeyOptions,
  terminal: Terminal,
): Promise<Survivor> {
  const configured = restoreStores(system);
  const known = configured.length > 0 ? configured : allStores(system);
  if (parseCheckpointName(from) !== undefined) {
    if (known.length === 0) {
      throw new UsageError(
        "The configuration has no checkpoint store.",
        "Give the path of the checkpoint with --from.",
      );
    }
    return await inStores(system, known, from, terminal);
  }
  const survivor = await withCheckpointPlace(from, keys, terminal, async ({ store, name }) => {
    const found = await chooseCheckpoint(store, name);
    return await inStores(system, [store], found.name, terminal);
  });
  if (!known.some(({ location }) => location === survivor.store)) {
    terminal.stderr.write(
      `notice: add ${survivor.store} to the restore-from of the nodes, or copy the checkpoint to their store, because nodes restore only from configured stores.\n`,
    );
  }
  return survivor;
}

async function inStores(
  system: System,
  stores: readonly CheckpointStore[],
  name: string,
  terminal: Terminal,
): Promise<Survivor> {
  const { dir, kvProvider } = system;
  const stagingDir = join(dir, `.cairn-recover-${randomBytes(4).toString("hex")}`);
  try {
    await makeFolder(stagingDir);
    const folders = { stagingDir, targetDir: join(stagingDir, "read-back") };
    const about = { command: "cairn log recover", verb: "reading back", reserveIn: isOwnStore(system) };
    return await restoreNamed({ stores, name, ...folders, ...about }, kvProvider, terminal);
  } catch (error) {
    if (!isCairnError(error)) throw error;
    const { code, message, hint = "Choose a checkpoint that cairn checkpoint list prints." } = error;
    throw new CairnError(code, `The log was not begun: ${message}`, { hint, cause: error });
  } finally {
    await rm(stagingDir, { recursive: true, force: true });
  }
}
