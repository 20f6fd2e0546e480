import { INDEX_VERSION, upgradeCheckpoint } from "@cairn/engine";
import { formatBytes, formatCount } from "@cairn/text";
import { command } from "../options/command.ts";
import { CONFIGURATION_OPTIONS } from "../options/configuration.ts";
import { CHECKPOINT_LOG, chooseCheckpoint } from "../places/checkpoint-place.ts";
import { openSystem } from "../places/configured-system.ts";
import { showRestore } from "../places/restored-checkpoint.ts";
import { STAGING, stagingFolder } from "../places/staging-folder.ts";
import { requireCheckpointer, waitingNotice } from "./checkpoint-create.ts";

export const addCheckpointUpgrade = command({
  syntax: "upgrade [name]",
  description:
    "Save the newest checkpoint, which an older version of Cairn wrote, as one of this version, without a node and without the log",
  examples: ["cairn checkpoint upgrade -f cairn.edn"],
  options: { ...CONFIGURATION_OPTIONS, log: CHECKPOINT_LOG, staging: STAGING },
  note: "The old checkpoint remains. Nodes of this version can restore it as well, but each then upgrades its own copy.",
  async act(run, asked) {
    const { options } = run;
    const system = requireCheckpointer(await openSystem(run));
    const { store } = system.checkpointer;
    const signal = run.interruptible("nothing was saved");
    const found = await chooseCheckpoint({ store }, asked, {
      ask: { asked: options.log },
      kvFormat: system.kvProvider.format,
      signal,
    });
    const from = found.format.index;
    if (from === INDEX_VERSION) {
      const because = `${found.name} already has an index of version ${INDEX_VERSION}`;
      return await run.answer({ skipped: "unchanged", because }, `skipped: ${because}`);
    }
    const dir = await stagingFolder(run, "cairn-upgrade-");
    const { onProgress, stop } = showRestore(run, "upgrading");
    const saved = await upgradeCheckpoint({
      name: found.name,
      system,
      node: run.node,
      dir,
      signal,
      onProgress,
      onWaiting: waitingNotice(run),
    }).finally(stop);
    await run.answer(
      { ...saved, upgraded: found.name, from, to: INDEX_VERSION },
      `upgraded ${found.name} from index version ${from} to ${INDEX_VERSION}; saved ${saved.name} (transaction ${formatCount(saved.txId)}, ${formatBytes(saved.bytes)})`,
    );
  },
});
