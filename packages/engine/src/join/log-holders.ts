import path from "node:path";
import type { TxId } from "@cairn/client";
import { CairnError, holdsLevelDb, isCairnError, type KvProvider, namesIn, unlessFailed } from "@cairn/kv";
import { shellWord } from "@cairn/text";
import type { System } from "../api/system.ts";
import { restoreStores } from "../checkpoints/checkpoint-stores.ts";
import { askStatus, type Peer } from "../cluster/ask-cluster.ts";
import { dbDirLayout } from "../db-dir/index-directory.ts";
import { readQuarantine } from "../db-dir/quarantine.ts";
import { openIndex, readPrefix } from "../index/local-index.ts";
import { holdsTransactions, type IndexState } from "../index/rows/index-state.ts";
import { openEmbeddedTxLog } from "../log/embedded/embedded-tx-log.ts";
import type { TxLog } from "../log/tx-log.ts";
import { continuing, findLostLog, holderOf, howToContinue, type LostLog } from "./lost-log.ts";

/** How long other nodes may take to say what they hold (ms). */
const ASK_MS = 1_000;

export type AskedLog = Pick<TxLog, "name" | "location" | "hasOneWriter" | "peers">;

export interface LookOptions {
  /** The node's own index, which it has open or cannot open. Otherwise, the index in its folder is asked. */
  readonly own?: IndexState | { readonly unusable: CairnError } | undefined;
  /** The id of an empty log that exists. Whoever follows it agrees with it, so that only stores are asked. */
  readonly exceptId?: string;
  readonly signal?: AbortSignal;
}

export interface Holder {
  readonly kind: "own" | "stores" | "aside" | "node" | "beside";
  /** Who holds what, as a clause. */
  readonly holder: string;
  /** The last transaction that it leads to; undefined if it could not be read. */
  readonly txId?: TxId;
  /** Why it is unknown what it holds. */
  readonly error?: CairnError;
  readonly lost?: LostLog;
  /** A node that responded. */
  readonly node?: Peer;
  /** The folder of an index on this machine. */
  readonly folder?: string;
  /** What to do if the log is lost, as a clause. */
  readonly cure?: string;
  /** Whether the cure requires something to be made usable first, which may be impossible. */
  readonly isDoubtful?: boolean;
  /** What to do if this node's id or its log's name was changed by mistake, as sentences. */
  readonly renamed?: string;
}

/**
 * Asks every place that may hold transactions of a log with this name: the stores, the node's own index, those that it
 * moved aside, the other nodes, and the folders of other nodes in the same place. A place that does not respond, or
 * cannot be read, is a holder with an error.
 */
export async function askHolders(
  log: AskedLog,
  system: System,
  { own, exceptId, signal }: LookOptions = {},
): Promise<Holder[]> {
  const { live, quarantine } = dbDirLayout(system.dbDir);
  const stores: Place = {
    kind: "stores",
    what: "the stores hold",
    ask: async () => await heldInStores(log, system, exceptId, signal),
  };
  const found: Holder[] = [];
  const ask = async ({ kind, what, ask: asking }: Place): Promise<void> => {
    try {
      found.push(...(await asking()));
    } catch (error) {
      if (!isCairnError(error)) throw error;
      const holder = `it is unknown what ${what} (${error.code}: ${error.message})`;
      found.push({ kind, holder, error });
    }
  };
  if (exceptId !== undefined) {
    await ask(stores);
    return found;
  }
  const isHere = own !== undefined && !("unusable" in own);
  const what = own === undefined ? `the index in ${live} holds` : "the local index holds";
  await ask({ kind: "own", what, ask: async () => await heldHere(log, system, own) });
  await ask(stores);
  await ask({
    kind: "aside",
    what: `the indexes in ${quarantine} hold`,
    ask: async () => await heldAside(log, system),
  });
  await ask({
    kind: "node",
    what: "other nodes hold",
    ask: async () => await heldByNodes(log, own !== undefined, system, signal),
  });
  // A node that has an index was not renamed.
  const mayBeRenamed = !isHere && !found.some(({ kind }) => kind === "own");
  for (const place of await othersBeside(log, system, mayBeRenamed)) await ask(place);
  return found;
}

interface Place {
  readonly kind: Holder["kind"];
  /** Completes the clause "it is unknown what …". */
  readonly what: string;
  readonly ask: () => Promise<readonly Holder[]>;
}

/** A running node that has the index open answers by itself. */
async function heldHere(
  { name }: AskedLog,
  system: System,
  own: LookOptions["own"],
): Promise<readonly Holder[]> {
  if (own !== undefined && "unusable" in own) throw own.unusable;
  const { live } = dbDirLayout(system.dbDir);
  const txId = own?.txId ?? (await lastInIndex(live, name, system.kvProvider));
  if (!holdsTransactions(txId)) return [];
  if (own !== undefined && own.log.name !== name) {
    const former = own.log.name;
    const holder = `the local index holds transactions up to ${txId} of the log "${former}"`;
    const renamed = `If this node is to follow that log, configure its name, "${former}", again.`;
    return [{ kind: "own", holder, folder: live, renamed, ...byIndex(txId, system, system.dbDir) }];
  }
  const index = own === undefined ? `index in ${live}` : "local index";
  const holder = `the ${index} holds transactions up to ${txId}`;
  return [{ kind: "own", holder, folder: live, ...byIndex(txId, system) }];
}

/** An index is a cure by itself: a log can be continued from it. One of another log's name or another node is named. */
function byIndex(txId: TxId, system: System, folder?: string): Pick<Holder, "txId" | "cure"> {
  const [words, from] =
    folder === undefined ? ["", "the index of this node"] : [` --from ${shellWord(folder)}`, "that index"];
  const cure = beforeRecovery(system) + continuing(`cairn log recover${words}`, txId, `, from ${from}`);
  return { txId, cure };
}

/** Nodes follow the new log from a checkpoint, which the command saves first. */
function beforeRecovery({ checkpointer }: System): string {
  if (checkpointer !== undefined) return "";
  return "configure a checkpointer with a store (cairn/index-store > kv-store > checkpointer), and then ";
}

/** Indexes that were moved aside and may be the only ones that hold some transactions. */
async function heldAside({ name }: AskedLog, { dbDir, kvProvider }: System): Promise<readonly Holder[]> {
  if (!kvProvider.persistent) return [];
  const holders: Holder[] = [];
  for (const { folder, live, holdsLost } of await readQuarantine(dbDirLayout(dbDir).quarantine)) {
    if (!holdsLost) continue;
    const prefix = await readPrefix(kvProvider, live);
    if (prefix !== undefined && (prefix.log.name !== name || !holdsTransactions(prefix.txId))) continue;
    const holder =
      prefix === undefined
        ? `it is unknown what the index in ${folder} holds, because it cannot be read`
        : `the index in ${folder} holds transactions up to ${prefix.txId}`;
    const error = new CairnError("INDEX_CORRUPT", `The index in ${folder} cannot be read.`);
    holders.push({
      kind: "aside",
      holder,
      folder,
      ...(prefix === undefined ? { error } : { txId: prefix.txId }),
    });
  }
  return holders;
}

async function heldInStores(
  { name }: AskedLog,
  system: System,
  exceptId: string | undefined,
  signal: AbortSignal | undefined,
): Promise<readonly Holder[]> {
  const wanted = { name, kvFormat: system.kvProvider.format, exceptId, signal };
  const lost = await findLostLog(restoreStores(system), wanted);
  if (lost === undefined) return [];
  const { txId, plan } = lost;
  const cure = howToContinue(lost);
  return [{ kind: "stores", holder: holderOf(lost), lost, cure, txId, isDoubtful: plan === undefined }];
}

/** Nodes that have failed because the log is gone answer as well. */
async function heldByNodes(
  { name, peers }: AskedLog,
  isAsking: boolean,
  system: System,
  signal: AbortSignal | undefined,
): Promise<readonly Holder[]> {
  if (peers === undefined) return [];
  const answers = await askStatus(peers, { timeoutMs: ASK_MS, ...(signal && { signal }) });
  const holders: Holder[] = [];
  for (const one of answers) {
    const { node, status } = one;
    const { txId } = status.index;
    const isOwn = node === system.nodeId;
    // A node whose index is of a log of another name reports no id.
    const isOfLog = status.log.name === name && status.log.id !== null;
    if ((isAsking && isOwn) || !isOfLog || txId === null || !holdsTransactions(txId)) continue;
    const cure = `follow the hint in the status of node ${node} on its machine: the log can be continued from its index, after transaction ${txId}`;
    const holder = `the index of node ${node} (${status.phase}) holds transactions up to ${txId}`;
    holders.push({ kind: "node", holder, node: one, ...(isOwn ? byIndex(txId, system) : { txId, cure }) });
  }
  return holders;
}

/**
 * Returns the folders of other ids in the same place. A node whose host was renamed has another id, unless it is
 * configured, and asks for embedded logs as well, of which each belongs to one node alone.
 */
async function othersBeside(
  { name, location, hasOneWriter }: AskedLog,
  system: System,
  mayBeRenamed: boolean,
): Promise<readonly Place[]> {
  const { nodeId, dbDir, kvProvider } = system;
  const isAlone = hasOneWriter === true;
  const [own, suffix] = isAlone ? [location ?? "", "-log"] : [dbDir, "-index"];
  if (path.basename(own) !== `${nodeId}${suffix}`) return [];
  if (isAlone ? !mayBeRenamed : !kvProvider.persistent) return [];
  const parent = path.dirname(own);
  const names = (await namesIn(parent)).filter(
    (one) => one.endsWith(suffix) && path.join(parent, one) !== own,
  );
  return names.map((one) => {
    const folder = path.join(parent, one);
    const id = one.slice(0, -suffix.length);
    const ask = async (): Promise<readonly Holder[]> => {
      const txId = await (isAlone
        ? lastInLog(folder)
        : lastInIndex(dbDirLayout(folder).live, name, kvProvider));
      if (!holdsTransactions(txId)) return [];
      const holder = `${folder} of node ${id} holds transactions up to ${txId}`;
      const renamed = mayBeRenamed ? { renamed: renamedFrom(id, nodeId, isAlone) } : {};
      if (isAlone) return [{ kind: "beside", holder, ...renamed }];
      return [{ kind: "beside", holder, folder, ...renamed, ...byIndex(txId, system, folder) }];
    };
    return { kind: "beside", what: `${folder} of node ${id} holds`, ask };
  });
}

function renamedFrom(id: string, nodeId: string, isAlone: boolean): string {
  const own = isAlone ? " If it is another one, give it a folder of its own (CAIRN_DIR)." : "";
  return `The id of this node, ${nodeId}, names its folders, and is the host name unless it is configured. If this is the node ${id}, set CAIRN_NODE_ID=${id} (or "cairn/node": {"id": "${id}"}) and start it again.${own}`;
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
  if (!(await holdsLevelDb(live))) return 0;
  const index = await unlessFailed(openIndex(provider, live), "INDEX_LOCKED", undefined);
  await index?.kv.close();
  return index?.state?.log.name === logName ? index.state.txId : 0;
}
