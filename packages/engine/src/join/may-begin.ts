import path from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { TxId } from "@cairn/client";
import { shellWord } from "@cairn/text";
import { CairnError, isCairnError, type KvProvider, namesIn, unlessFailed } from "@cairn/kv";
import type { System } from "../api/system.ts";
import { readLineages, replacedLogs } from "../backup/backup-lineage.ts";
import { restoreStores } from "../checkpoints/checkpoint-stores.ts";
import { askStatus, type Peer } from "../cluster/ask-cluster.ts";
import { dbDirLayout } from "../db-dir/index-directory.ts";
import { openIndex } from "../index/local-index.ts";
import { FIRST_TX_ID } from "../index/rows/index-state.ts";
import { openEmbeddedTxLog } from "../log/embedded/embedded-tx-log.ts";
import { isUnused, type LogIdentity, readLogIdentity, usedLog } from "../log/log-identity.ts";
import type { TxLog } from "../log/tx-log.ts";
import type { ContinuedLog } from "../transactions/birth-record.ts";
import { encodeBirthRecord } from "../transactions/transaction-codec.ts";
import { findLostLog, holderOf, howToContinue } from "./lost-log.ts";

/** How long other nodes may take to say what they hold (ms). */
const ASK_MS = 1_000;

export type AskedLog = Pick<TxLog, "name" | "location" | "hasOneWriter" | "peers">;

export interface Beginning {
  /** The holders of its transactions, each as a clause. If there are any, no node may begin it. */
  readonly holders: readonly string[];
  /** What to do about them, as sentences. */
  readonly cure: string;
  /** A sentence that says how a person overrides the answer. */
  readonly override: string;
  /** Why it is unknown whether there are other holders. */
  readonly unknown: readonly CairnError[];
}

export interface LookOptions {
  /** What the node's own index holds, as a clause, and its last transaction if this version can read it. */
  readonly own?: { readonly holder: string; readonly txId?: TxId } | undefined;
  /** The id of an empty log that exists. Whoever follows it agrees with it, so that only stores are asked. */
  readonly exceptId?: string;
  readonly signal?: AbortSignal;
}

/**
 * The only answer to the question whether a log may begin: finds out who holds transactions of a log with this name. The
 * node's own index, the stores, the other nodes and the folders of other nodes in the same place are asked. Throws the
 * errors of stores if nothing else shows that there was a log, and `KEY_MISSING`.
 */
export async function lookBeforeBeginning(
  log: AskedLog,
  system: System,
  { own, exceptId, signal }: LookOptions = {},
): Promise<Beginning> {
  const found: Held[] = [];
  const unknown: CairnError[] = [];
  const ask = async (asking: Promise<Held>, isNeeded = false): Promise<void> => {
    try {
      found.push(await asking);
    } catch (error) {
      if (isNeeded || !isCairnError(error)) throw error;
      unknown.push(error);
    }
  };
  await ask(heldInStores(log, system, exceptId, signal), own === undefined);
  const [store] = unknown;
  if (own?.txId !== undefined) found.push(heldByItself(own.txId));
  if (exceptId === undefined) {
    if (own === undefined) await ask(heldHere(log, system));
    // A node with an index answers its own question.
    await ask(heldByNodes(log, own !== undefined, system, signal));
    // A node that has an index was not renamed.
    const beside = own === undefined ? await othersBeside(log, system) : [];
    for (const read of beside) await ask(read());
  }
  const holders = [...(own === undefined ? [] : [own.holder]), ...found.flatMap(({ holder = [] }) => holder)];
  // The cures, beginning with the furthest, up to the first one that can be followed as things are.
  const curing = found
    .filter(({ cure }) => cure !== undefined)
    .toSorted((a, b) => (b.txId ?? 0) - (a.txId ?? 0));
  const sure = curing.findIndex(({ isDoubtful }) => isDoubtful !== true);
  const cures = curing.slice(0, sure < 0 ? curing.length : sure + 1).flatMap(({ cure = [] }) => cure);
  if (own !== undefined && cures.length === 0) cures.push(withoutRemains());
  // What stores that cannot be read hold may be better than what anything else does.
  const chosen = store === undefined ? cures : [withoutRemains(store)];
  const sentences = found.flatMap(({ renamed = [] }) => renamed).slice(0, 1);
  if (chosen.length > 0)
    sentences.push(`If the log is permanently lost, ${chosen.join(". If that is impossible, ")}.`);
  return { holders, cure: sentences.join(" "), override: TO_BEGIN_EMPTY, unknown };
}

const TO_BEGIN_EMPTY =
  "To begin an empty log instead, run cairn log create --empty (with an embedded log, stop the node first).";

/** Nothing if there is no holder. */
interface Held {
  /** A clause for each holder. */
  readonly holder?: string | readonly string[];
  /** What to do if the log is lost, as a clause. */
  readonly cure?: string;
  readonly txId?: TxId;
  /** Whether the cure requires something to be made usable first, which may be impossible. */
  readonly isDoubtful?: boolean;
  /** What to do if the holder is this node under its former id, as sentences. */
  readonly renamed?: string;
}

/** For commands, because a node knows its own index. A running node has it open, and answers. */
async function heldHere({ name }: AskedLog, system: System): Promise<Held> {
  const { live } = dbDirLayout(system.dbDir);
  const txId = await lastInIndex(live, name, system.kvProvider);
  if (txId <= FIRST_TX_ID) return {};
  return { holder: `the index in ${live} holds transactions up to ${txId}`, ...heldByItself(txId) };
}

/** An index is a cure by itself: a log can be continued from it. */
function heldByItself(txId: TxId): Held {
  const cure = `run cairn log recover, which begins one that continues after transaction ${txId}, from the index of this node; the nodes follow it (with an embedded log, stop the node first)`;
  return { txId, cure };
}

/** Only the node's own index is known to hold transactions. `store` is the error of stores that could not be read. */
function withoutRemains(store?: CairnError): string {
  return store !== undefined
    ? `it can be continued from a checkpoint or a log backup, but no store could be read (${store.code}: ${store.message}); once one can, cairn log status names the command`
    : `the stores of this node have no checkpoint of it: cairn log recover --from PATH continues from a checkpoint or an index elsewhere, and "on-log-mismatch": {"different": "rebuild"} lets this node begin with an empty index, after which cairn log orphans prints what the present one contains`;
}

async function heldInStores(
  { name }: AskedLog,
  system: System,
  exceptId: string | undefined,
  signal: AbortSignal | undefined,
): Promise<Held> {
  const wanted = { name, kvFormat: system.kvProvider.format, exceptId, signal };
  const lost = await findLostLog(restoreStores(system), wanted);
  if (lost === undefined) return {};
  const cure = howToContinue(lost);
  return { holder: holderOf(lost), cure, txId: lost.txId, isDoubtful: lost.plan === undefined };
}

function reach({ status: { index } }: Peer): TxId {
  return index.txId ?? 0;
}

/** Nodes that have failed because the log is gone answer as well. */
async function heldByNodes(
  { name, peers }: AskedLog,
  isAsking: boolean,
  system: System,
  signal: AbortSignal | undefined,
): Promise<Held> {
  if (peers === undefined) return {};
  const answers = await askStatus(peers, { timeoutMs: ASK_MS, ...(signal && { signal }) });
  const holding = answers.filter(
    (one) =>
      !(isAsking && one.node === system.nodeId) && one.status.log.name === name && reach(one) > FIRST_TX_ID,
  );
  const [furthest] = holding.toSorted((a, b) => reach(b) - reach(a));
  if (furthest === undefined) return {};
  const txId = reach(furthest);
  const cure = `follow the hint in the status of node ${furthest.node} on its machine: the log can be continued from its index, after transaction ${txId}`;
  return {
    holder: holding.map(
      (one) => `the index of node ${one.node} (${one.status.phase}) holds transactions up to ${reach(one)}`,
    ),
    ...(furthest.node === system.nodeId ? heldByItself(txId) : { txId, cure }),
  };
}

/** The folders of other ids are asked because a node whose host was renamed has another id, unless it is configured. */
async function othersBeside(
  { name, location, hasOneWriter }: AskedLog,
  system: System,
): Promise<(() => Promise<Held>)[]> {
  const { nodeId, dbDir, kvProvider } = system;
  const isAlone = hasOneWriter === true;
  const [own, suffix] = isAlone ? [location ?? "", "-log"] : [dbDir, "-index"];
  if (path.basename(own) !== `${nodeId}${suffix}` || (!isAlone && !kvProvider.persistent)) return [];
  const parent = path.dirname(own);
  const names = (await namesIn(parent)).filter(
    (one) => one.endsWith(suffix) && path.join(parent, one) !== own,
  );
  return names.map((one) => async () => {
    const folder = path.join(parent, one);
    const last = await (isAlone
      ? lastInLog(folder)
      : lastInIndex(dbDirLayout(folder).live, name, kvProvider));
    if (last <= FIRST_TX_ID) return {};
    const id = one.slice(0, -suffix.length);
    const renamed = `The id of this node, ${nodeId}, names its folders, and is the host name unless it is configured. If this is the node ${id}, set CAIRN_NODE_ID=${id} (or "cairn/node": {"id": "${id}"}) and start it again.`;
    const holder = `${folder} of node ${id} holds transactions up to ${last}`;
    return isAlone
      ? { holder, renamed: `${renamed} If it is another one, give it a folder of its own (CAIRN_DIR).` }
      : {
          holder,
          renamed,
          cure: `run cairn log recover --from ${shellWord(folder)}, which begins one that continues after transaction ${last}, from that index`,
          txId: last,
        };
  });
}

/** A node that runs has its folders open, and is not one that was renamed. */
async function lastInLog(folder: string): Promise<number> {
  const log = await unlessFailed(openEmbeddedTxLog({ path: folder }), "INDEX_LOCKED", undefined);
  try {
    return (await log?.exists()) === true ? ((await log?.bounds())?.last ?? 0) : 0;
  } finally {
    await log?.close();
  }
}

async function lastInIndex(live: string, logName: string, provider: KvProvider): Promise<TxId> {
  if (!(await namesIn(live)).includes("CURRENT")) return 0;
  const index = await unlessFailed(openIndex(provider, live), "INDEX_LOCKED", undefined);
  await index?.kv.close();
  return index?.state?.log.name === logName ? index.state.txId : 0;
}

/**
 * Begins an empty log, and returns its id. Throws `CONFLICT` if there is a log or, unless `evenIfHeld`, if something
 * holds transactions of a log with this name, which nodes of a new log would lack.
 */
export async function beginEmptyLog(log: TxLog, system: System, evenIfHeld: boolean): Promise<string | null> {
  const existing = await readLogIdentity(log);
  if (existing !== undefined) throw usedLog(log.name, existing.bounds.last);
  if (!evenIfHeld) {
    const { holders, cure, override } = await lookBeforeBeginning(log, system).catch((error: unknown) => {
      if (!isCairnError(error)) throw error;
      const needed = error.code === "KEY_MISSING" ? "Configure its keys" : "Make the store reachable";
      throw new CairnError(error.code, `The log was not begun: ${error.message}`, {
        hint: `${needed}: only its checkpoints show whether there was a log of this name. ${TO_BEGIN_EMPTY}`,
        cause: error,
      });
    });
    if (holders.length > 0) {
      const message = `There was a log "${log.name}": ${holders.join("; ")}. A new log would have none of them.`;
      throw new CairnError("CONFLICT", message, `${cure} ${override}`);
    }
  }
  // Marked as deliberate, so that nodes that find checkpoints of another log do not suspect a wrong address.
  await log.create((id) => encodeBirthRecord({ log: id, offset: 0, deliberate: true }));
  return (await readLogIdentity(log))?.id ?? null;
}

/** Begins a log that continues another, in place of an unused one. Returns its id; throws `CONFLICT` for a used one. */
export async function continueLog(
  log: TxLog,
  system: System,
  existing: LogIdentity | undefined,
  continues: ContinuedLog,
): Promise<string> {
  if (existing !== undefined && isUnused(existing)) await log.removeUnused?.(existing.id);
  // If a store cannot be read, the times at which the logs were begun decide.
  const lineages = await unlessFailed(readLineages(restoreStores(system)), "any", undefined);
  const replaces = lineages === undefined ? [] : replacedLogs(lineages, continues.log);
  const offset = continues.anchor.txId;
  const birth = { offset, deliberate: true, continues, ...(replaces.length > 0 && { replaces }) };
  await log.create((id) => encodeBirthRecord({ log: id, ...birth }));
  const begun = await readLogIdentity(log);
  // Of several concurrent commands, one creates the log. The others succeed only if it continues from their point.
  if (begun !== undefined && isDeepStrictEqual(begun.birth?.continues, continues)) return begun.id;
  throw usedLog(log.name, begun?.bounds.last ?? 0);
}
