import { join } from "node:path";
import { type CheckpointStore, parseCheckpointName } from "@cairn/checkpoint";
import { CairnError, isCairnError, makeFolder } from "@cairn/kv";
import { isOwnStore, restoreStores, type System } from "@cairn/engine";
import type { CommandRun } from "../options/command.ts";
import type { StoreKeyOptions } from "../places/store-keys.ts";
import { chooseCheckpoint, openPlace } from "../places/checkpoint-place.ts";
import { noStore } from "../places/configured-system.ts";
import { restoreNamed } from "../places/restored-checkpoint.ts";
import { workFolder } from "../places/staging-folder.ts";

/** Reads back and opens the checkpoint `from` (a name or path): nodes of the new log can begin only with it. */
export async function readSurvivor(
  run: CommandRun<StoreKeyOptions>,
  system: System,
  from: string,
): Promise<Awaited<ReturnType<typeof restoreNamed>>> {
  const known = restoreStores(system);
  if (parseCheckpointName(from) !== undefined) {
    if (known.length === 0) throw noStore("Give the path of the checkpoint with --from.");
    return await readBack(run, system, known, from);
  }
  const { store, name } = await openPlace(run, from);
  const found = await chooseCheckpoint(store, name);
  const survivor = await readBack(run, system, [store], found.name);
  if (!known.some(({ location }) => location === survivor.store)) {
    run.notice(
      `add ${survivor.store} to the restore-from of the nodes, or copy the checkpoint to their store, because nodes restore only from configured stores.`,
    );
  }
  return survivor;
}

async function readBack(
  run: CommandRun,
  system: System,
  stores: readonly CheckpointStore[],
  name: string,
): ReturnType<typeof restoreNamed> {
  const stagingDir = workFolder(run, system.dir, "recover");
  try {
    await makeFolder(stagingDir);
    return await restoreNamed(run, system.kvProvider, {
      stores,
      name,
      stagingDir,
      targetDir: join(stagingDir, "read-back"),
      command: "cairn log recover",
      verb: "reading back",
      reserveIn: isOwnStore(system),
    });
  } catch (error) {
    if (!isCairnError(error)) throw error;
    const { code, message, hint = "Choose a checkpoint that cairn checkpoint list prints." } = error;
    throw new CairnError(code, `The log was not begun: ${message}`, { hint, cause: error });
  }
}
