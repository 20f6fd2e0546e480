import type { SkippedCheckpoint } from "@cairn/checkpoint";
import { levelProvider } from "@cairn/kv";
import type { VerifiedSummary } from "@cairn/client";
import { readBack, verifyCheckpoint } from "@cairn/engine";
import { formatCount } from "@cairn/text";
import { command, type CommandRun } from "../options/command.ts";
import { isConfigured } from "../options/configuration.ts";
import { askNode, NODE_OPTIONS } from "../options/node-address.ts";
import { negatedFlag, type OptionValues } from "../options/option-specs.ts";
import { KEY_OPTIONS } from "../places/store-keys.ts";
import { CHECKPOINT_LOG, checkpointSource, chooseCheckpoint, openPlace } from "../places/checkpoint-place.ts";
import { openLog, requireIdentity, savingStore } from "../places/configured-system.ts";
import { ProblemsFoundError } from "../terminal/report-error.ts";
import { showRestore } from "../places/restored-checkpoint.ts";
import { STAGING, stagingFolder } from "../places/staging-folder.ts";

const VERIFY = {
  ...NODE_OPTIONS,
  ...KEY_OPTIONS,
  mark: negatedFlag("without a node: write no mark into the store"),
  log: CHECKPOINT_LOG,
  staging: STAGING,
};

type VerifyRun = CommandRun<OptionValues<typeof VERIFY>>;

/** `verifiedAt` is null if no mark was written. `log` is the result of comparing the checkpoint with its log. */
interface Verified extends Pick<VerifiedSummary, "name" | "txId" | "digest"> {
  readonly verifiedAt: string | null;
  readonly log?: Awaited<ReturnType<typeof readBack>>["log"];
}

export const addCheckpointVerify = command({
  syntax: "verify [checkpoint]",
  description:
    "Read a checkpoint back, open it, compute its digest and mark it as verified; a node does this unless a path (for a folder, the newest checkpoint in it) or a configuration (-f) is given",
  examples: [
    "cairn checkpoint verify ./cairn-data/checkpoints",
    "cairn checkpoint verify -f cairn.edn",
    "cairn checkpoint verify --url http://10.0.0.7:3000",
  ],
  options: VERIFY,
  note: "With a configuration, no node is needed, and the checkpoint (by default the newest in the configured store) is also compared with its log.",
  async act(run, place) {
    const passedOver: SkippedCheckpoint[] = [];
    const found = await verify(run, place, (one) => void passedOver.push(one));
    const { name, txId, digest, verifiedAt, log } = found;
    const parts = [
      `${name} is intact (transaction ${formatCount(txId)}, ${digest})`,
      ...(log === "agrees" ? ["it agrees with the log"] : []),
      ...(log === "trimmed" ? ["it was not compared with the log, which begins after it"] : []),
      verifiedAt === null ? "not marked" : "marked as verified",
    ];
    for (const { name: newer, error } of passedOver) run.passOver(newer, error);
    await run.answer(found, parts.join("; "));
    // A node of a later version saves checkpoints that only its version can read.
    const damaged = passedOver.map(({ error }) => error).find(({ code: one }) => one !== "INDEX_VERSION");
    if (damaged === undefined) return;
    const { code, hint } = damaged;
    throw new ProblemsFoundError(code, `${name} is intact, but it is not the newest checkpoint.`, { hint });
  },
});

async function verify(
  run: VerifyRun,
  place: string | undefined,
  onPassedOver: (skipped: SkippedCheckpoint) => void,
): Promise<Verified> {
  const { options } = run;
  const from = checkpointSource(place, options);
  if (from.kind === "node") {
    const path = `/api/v1/checkpoints/${encodeURIComponent(from.name ?? "newest")}/verify`;
    return await askNode<VerifiedSummary>(run, { method: "POST", path });
  }
  const configured = from.kind === "store" || isConfigured(options) ? await openLog(run) : undefined;
  const at = from.kind === "path" ? await openPlace(run, from.path) : { name: from.name };
  const provider = configured?.system.kvProvider ?? levelProvider();
  const store = "store" in at ? at.store : savingStore(configured?.system);
  // Without a name, the best checkpoint of the given log, of the configured one, or of the only one in the store, or of
  // the newest log that it continues.
  const isOfConfigured = configured !== undefined && at.name === undefined && options.log === undefined;
  const asked = isOfConfigured ? (await requireIdentity(configured.log, configured.system)).id : options.log;
  const { name } = await chooseCheckpoint({ store }, at.name, {
    ask: { asked },
    kvFormat: provider.format,
    onPassedOver,
  });
  const stagingDir = await stagingFolder(run, "verify");
  const signal = run.interruptible("nothing was verified");
  const { onProgress } = showRestore(run, "verifying");
  const reading = { log: configured?.log, stagingDir, node: run.node, onProgress, signal };
  const target = { store, name, provider, ...reading };
  const marked = options.mark ? await verifyCheckpoint(target) : undefined;
  const { manifest, digest, log } = marked ?? (await readBack(target));
  return { name, txId: manifest.txId, digest, verifiedAt: marked?.verification.verifiedAt ?? null, log };
}
