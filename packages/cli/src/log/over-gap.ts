import {
  type buildPlanned,
  encodeBarrier,
  furthestBackup,
  type LogIdentity,
  overGaps,
  planPast,
  restoreStores,
  saveSeam,
} from "@cairn/engine";
import type { TxId } from "@cairn/client";
import { CairnError } from "@cairn/kv";
import { formatCount, formatNumberOf } from "@cairn/text";
import type { CommandRun } from "../options/command.ts";
import { type ConfiguredLog, requireIdentity, savingStore } from "../places/configured-system.ts";
import { copyNodeIndex } from "../places/copied-index.ts";
import { workFolder } from "../places/staging-folder.ts";
import { askPeers } from "./recovery-plan.ts";
import type { RecoverySource } from "./recovery-source.ts";

type ReadPast = (plan: RecoverySource["plan"]) => ReturnType<typeof buildPlanned>;

/**
 * Saves a checkpoint that ends with the log's last message and contains everything but the messages that the log lacks,
 * unless the log's backup has these. A node that stopped before the gap continues from it.
 */
export async function saveOverGap(
  run: CommandRun,
  configured: ConfiguredLog,
  readPast: ReadPast,
): Promise<void> {
  const { log, system } = configured;
  const store = savingStore(system);
  const signal = run.interruptible("no checkpoint was saved");
  const stores = restoreStores(system);
  const identity = await endingWithMessage(configured);
  const backup = await furthestBackup(stores, identity.id);
  const [lost, found] = [new Set<number>(), new Set<number>()];
  const whole = overGaps(log, async (position) => {
    const message = await backup?.log.fetch(position);
    (message === undefined ? lost : found).add(position);
    return message;
  });
  const planning = { stores, kvFormat: system.kvProvider.format, logId: identity.id, log: whole, signal };
  const { plan, past } = await readPast(async (unusable) => await planPast({ ...planning, found: unusable }));
  const offset = past.state.txId - identity.bounds.last;
  if (plan.source !== "log" || lost.size + found.size === 0)
    throw new CairnError(
      "CONFLICT",
      `Nothing was saved: the log "${log.name}" lacks no message after the newest checkpoint that agrees with it.`,
      "Run cairn status, which says what the node is waiting for.",
    );
  const [first] = lost;
  if (first !== undefined) await requireLost(run, configured, identity, first + offset);
  const dir = await workFolder(run, system.dir, "recover");
  const onWaiting = (because: string): void => run.notice(`${because} Waiting until it ends.`);
  const saved = await saveSeam({ plan, past, system, node: run.node, log, dir, signal, onWaiting });
  const name = saved?.name ?? "";
  const but = lost.size === 0 ? "" : ` except ${formatNumberOf(lost.size, "message")} that it lacks`;
  await run.answer(
    { checkpoint: name, store: store.location, txId: past.txId, lost: lost.size, fromBackup: found.size },
    `saved ${name}, which contains everything up to transaction ${formatCount(past.txId)} of the log ${log.name}${but}; nodes before the gap continue from it by themselves`,
  );
}

/** A checkpoint ends with a message by which nodes recognize the log, so a log that lacks its last one gets another. */
async function endingWithMessage({ log, system }: ConfiguredLog): Promise<LogIdentity> {
  const identity = await requireIdentity(log, system);
  if ((await log.fetch(identity.bounds.last)) !== undefined) return identity;
  await log.append(encodeBarrier(identity.id));
  return await requireIdentity(log, system);
}

/** Throws `CONFLICT` if a node that answers, or the configured one, has an index with the first missing transaction. */
async function requireLost(
  run: CommandRun,
  { log, system }: ConfiguredLog,
  { id }: LogIdentity,
  txId: TxId,
): Promise<void> {
  const peers = await askPeers(log);
  const { copy } = await copyNodeIndex(run, system);
  const isOwn = copy !== undefined && copy.state.log.id === id && copy.state.txId >= txId;
  const peer = peers.find(({ status }) => status.log.id === id && (status.index.txId ?? 0) >= txId);
  const holder = isOwn ? `the index in ${copy.place}` : peer && `the index of node ${peer.node}`;
  if (holder === undefined) return;
  throw new CairnError(
    "CONFLICT",
    `Nothing was saved: transaction ${formatCount(txId)}, which the log lacks, is in ${holder}.`,
    "Start that node if it is stopped, and save a checkpoint on it: cairn checkpoint create --url URL (the address of that node). No transaction is lost then.",
  );
}
