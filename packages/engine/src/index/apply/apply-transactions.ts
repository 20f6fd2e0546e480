import { CairnError, type KvOperation, type KvReader, TRANSACTION_SLICE } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { IndexedMessage } from "./batches.ts";
import { anchorOf } from "../../log/anchor.ts";
import type { LogMessage } from "../../log/tx-log.ts";
import { type BirthRecord, continuesAt } from "../../transactions/birth-record.ts";
import {
  type DecodedMessage,
  type LoggedOperation,
  type LoggedTransaction,
  ofLaterFormat,
} from "../../transactions/transaction-codec.ts";
import { contentHash, logTagOf } from "../../transactions/message-frame.ts";
import { type ChainBatch, ChainWindow } from "../chains/chain-window.ts";
import { messageIdentity, messageMark } from "../chains/message-identity.ts";
import { BatchPolicies } from "./batch-policies.ts";
import { BatchQueues, type KnownShards, type QueuePlan, type QueueWriteKeys } from "./batch-queues.ts";
import type { FieldBuilds } from "../fields/field-builds.ts";
import { INDEX_VERSION, type IndexState, stateRow } from "../rows/index-state.ts";
import { type KeyState, KeyStates, type WrittenVersion } from "./key-states.ts";
import { OutcomeBatch } from "../rows/outcome-rows.ts";
import type { AppliedTransaction } from "./recent-outcomes.ts";
import { transactionRowKey } from "../rows/row-keys.ts";
import { committedText, encodeOutcome, type OutcomeKind } from "../rows/row-values.ts";
import {
  headLength,
  versionValueDocument,
  versionValueRevision,
  withDocument,
} from "../rows/version-values.ts";
import { REMEMBERED_TRANSACTIONS } from "@cairn/client/protocol";
import { Submissions } from "./submissions.ts";

/** Messages that are damaged, or that no node wrote for this log. They keep their ids but change nothing. */
export interface RefusedMessages {
  readonly count: number;
  readonly last?: { readonly txId: TxId; readonly reason: string };
}

/**
 * The result of applying a batch: how many of the messages were applied, the rows, the state, and the numbers of
 * committed transactions and of their operations.
 */
export interface Applied {
  readonly messages: number;
  readonly rows: KvOperation[];
  readonly state: IndexState;
  /** The chains' batch, to be committed after the rows are written. */
  readonly chains: ChainBatch;
  readonly committed: number;
  readonly operations: number;
  readonly refused: RefusedMessages;
  /** The outcomes, except those of transactions that repeat an earlier one. */
  readonly results: readonly AppliedTransaction[];
  /** The shards of queues, for the next batch; undefined if the batch does not concern queues. */
  readonly shards: KnownShards | undefined;
  /** What each of the messages changed; undefined if it was not collected, or if one of them evicts. */
  readonly changes: readonly AppliedChanges[] | undefined;
}

/** The versions that a transaction wrote: those of its operations in their order, then the documents that expired. */
export interface AppliedChanges extends Pick<AppliedTransaction, "txId" | "time" | "mark"> {
  readonly versions: readonly WrittenVersion[];
}

/** What is known before a batch is applied. Whatever is absent is read, or has its default. */
export interface BatchMemory {
  readonly chains?: ChainWindow;
  readonly shards?: KnownShards | undefined;
  readonly builds?: FieldBuilds;
  /** After how many transactions an idempotency id is forgotten: part of the index version, set only by tests. */
  readonly remembered?: number | undefined;
  readonly collectsChanges?: boolean;
}

/**
 * The maximum number of bytes of the documents of a transaction's keys. A few bytes in the log can name gigabytes of
 * documents, which the batch would have to hold. Part of the index version.
 */
const MAX_TRANSACTION_BYTES = 64 * 1024 * 1024;
/** A batch of several transactions ends before one with which its documents would have more bytes. */
const MAX_BATCH_BYTES = 16 * 1024 * 1024;

export const TOO_LARGE =
  "TX_TOO_LARGE: the present documents of its keys have more than 64 MiB together; nothing was changed, split the transaction";

/**
 * Computes the effects of a batch of messages on an index, or of the first of them if the documents that all of them
 * concern are too large to be held together. They are a pure function of the messages and of the
 * preceding state, which is read from `reader`. The resulting rows do not depend on how a log is divided into batches
 * (as long as it is divided where {@link decodeBatches} and `batchLength` require it), except that outcomes of one
 * batch may share a row. The birth record creates no row except its outcome.
 */
export async function applyMessages(
  messages: readonly IndexedMessage[],
  before: IndexState,
  reader: KvReader,
  memory: BatchMemory = {},
): Promise<Applied> {
  const { remembered = REMEMBERED_TRANSACTIONS, builds = NO_BUILDS, shards } = memory;
  const loaded = await load(messages, before, reader, { remembered, builds, shards });
  if (typeof loaded === "number") {
    return await applyMessages(messages.slice(0, loaded), before, reader, memory);
  }
  await TRANSACTION_SLICE.turn();
  const { keys, touched, policies, queues } = loaded;
  const chains = (memory.chains ?? (await ChainWindow.load(reader, before))).begin();
  const submissions = await Submissions.load(messages, before.txId, reader, remembered);
  const outcomes = new OutcomeBatch();
  const results: AppliedTransaction[] = [];
  const changes: AppliedChanges[] | undefined = memory.collectsChanges === true ? [] : undefined;
  let { log, txId, time, mark } = before;
  let committed = 0;
  let operations = 0;
  let written = 0;
  let refused: RefusedMessages = { count: 0 };
  for (const [index, { message, decoded }] of messages.entries()) {
    // If this message begins a log that continues another one, it and all later messages belong to the new log.
    if (decoded.kind === "birth" && message.position === 1) log = logOfBirth(decoded.birth, before);
    if (message.position + log.offset !== txId + 1) throw notNext(message, log, txId);
    txId += 1;
    time = Math.max(time, message.time);
    const identity = messageIdentity(message, decoded.kind !== "unreadable");
    mark = messageMark(identity).toString("hex");
    const own = touched[index] ?? NOTHING;
    const isTooLarge = loaded.isTooLarge || exceeds(own, queues?.others(index), keys);
    const isPlanned = decoded.kind === "transaction" && !isTooLarge && queues?.concerns(decoded) === true;
    const plan = isPlanned ? await queues.plan(decoded, txId, time) : undefined;
    const context = { txId, time, keys, touched: own, policies, queues, plan, isTooLarge };
    keys.versions = changes && [];
    const verdict = applyOne(decoded, message, log.id, context, submissions);
    const writes = keys.versions?.length;
    if (verdict.refusedFor !== undefined) {
      refused = { count: refused.count + 1, last: { txId, reason: verdict.refusedFor } };
    }
    const looking = policies?.after(txId, time, own);
    if (looking !== undefined) await looking;
    if (before.retiring !== undefined) await queues?.after(txId);
    if (verdict.kind === "committed") {
      committed += 1;
      operations += own.length;
    }
    if (verdict.kind !== "duplicate") {
      const reason = verdict.kind === "aborted" ? verdict.text.toString() : undefined;
      results.push({ txId, time, mark, reason, replaced: verdict.replaced ?? 0, shards: verdict.shards });
    }
    changes?.push({ txId, time, mark, versions: inOrder(keys.versions, writes) });
    const key = transactionRowKey(txId);
    const outcome = encodeOutcome(key, { time, mark: messageMark(identity) }, verdict.kind, verdict.text);
    outcomes.add(txId, key, outcome);
    chains.add(identity, { outcome, documents: keys.documents, written: keys.written - written });
    written = keys.written;
  }
  const last = messages.at(-1);
  const { sha256 } = last === undefined ? before : anchorOf(last.message);
  const state = stateAfter(before, { log, txId, time, sha256, mark }, loaded);
  await TRANSACTION_SLICE.turn();
  const rows = keys.rows();
  await policies?.addRows(rows, builds);
  for (const source of [queues?.rows() ?? [], outcomes.rows(), submissions.rows(txId), chains.rows()])
    for (const row of source) rows.push(row);
  rows.push(stateRow(state));
  const counts = { messages: messages.length, committed, operations, refused };
  const whole = keys.evicts ? undefined : changes;
  return { ...counts, rows, state, chains, results, shards: queues?.known(txId), changes: whole };
}

/** Returns versions with those after the first `writes`, of documents that expired, in the order of their rows. */
function inOrder(versions: readonly WrittenVersion[] = [], writes = 0): readonly WrittenVersion[] {
  if (versions.length - writes < 2) return versions;
  const expired = versions.slice(writes).toSorted((a, b) => Buffer.compare(a.rowKey, b.rowKey));
  return [...versions.slice(0, writes), ...expired];
}

function stateAfter(
  before: IndexState,
  reached: Pick<IndexState, "log" | "txId" | "time" | "sha256" | "mark">,
  { keys, policies, queues }: Loaded,
): IndexState {
  const bounded = { ...before, ...policies?.state() };
  const { documents, largest } = keys;
  const state = {
    ...bounded,
    ...queues?.state(bounded),
    ...reached,
    documents,
    largest,
    version: INDEX_VERSION,
  };
  return keys.evicts ? { ...state, evicting: true } : state;
}

const NOTHING: (KeyState | undefined)[] = [];

interface Loaded {
  readonly keys: KeyStates;
  /** The keys of each message, in the order of its operations. */
  readonly touched: readonly (KeyState | undefined)[][];
  readonly policies: BatchPolicies | undefined;
  readonly queues: BatchQueues | undefined;
  /** The batch is a single transaction whose documents are too large. They were not read. */
  readonly isTooLarge: boolean;
}

/** Returns a smaller number of messages if their documents are too large to be held together. */
async function load(
  messages: readonly IndexedMessage[],
  before: IndexState,
  reader: KvReader,
  known: { readonly remembered: number } & Required<Pick<BatchMemory, "builds" | "shards">>,
  isTooLarge = false,
): Promise<Loaded | number> {
  const keys = new KeyStates(before, reader);
  const touched: (KeyState | undefined)[][] = messages.map(({ decoded }) =>
    decoded.kind === "transaction" && !isTooLarge ? keys.collect(decoded.ops) : NOTHING,
  );
  const queues = await BatchQueues.load(isTooLarge ? [] : messages, before, keys, known.shards);
  const own = keys.all.length;
  // Policies are loaded before the keys are read, because policies may need additional keys.
  const policies = await BatchPolicies.load(messages, before, keys);
  const isSingle = messages.length === 1;
  // A single document may be larger, so that it can always be replaced and removed.
  const most = own <= 1 ? Infinity : isSingle ? MAX_TRANSACTION_BYTES : MAX_BATCH_BYTES;
  const [read] = await Promise.all([
    keys.load({ most, of: own }),
    policies?.sweep(known.remembered),
    policies?.prepare(messages, touched, known.builds),
  ]);
  if (read < own) {
    if (isSingle) return await load(messages, before, reader, known, true);
    return Math.min(messages.length - 1, Math.max(1, Math.floor((messages.length * read) / own)));
  }
  policies?.collectSwept();
  await queues?.collectEvicted();
  await keys.load();
  return { keys, touched, policies, queues, isTooLarge };
}

function exceeds(
  touched: readonly (KeyState | undefined)[],
  others: readonly KeyState[] = [],
  { largest }: KeyStates,
): boolean {
  if ((touched.length + others.length) * largest <= MAX_TRANSACTION_BYTES) return false;
  const keys = new Set([...touched, ...others]);
  keys.delete(undefined);
  if (keys.size <= 1) return false;
  let bytes = 0;
  for (const key of keys) if (key?.document !== undefined) bytes += headLength(key.document);
  return bytes > MAX_TRANSACTION_BYTES;
}

interface Context {
  readonly txId: TxId;
  readonly time: number;
  readonly keys: KeyStates;
  /** The transaction's keys, in the order of its operations. */
  readonly touched: readonly (KeyState | undefined)[];
  /** The policies and events of the batch; undefined if it contains only documents. */
  readonly policies: BatchPolicies | undefined;
  /** The queues of the batch, and the effects of the transaction on them; undefined if there are none. */
  readonly queues: BatchQueues | undefined;
  readonly plan: QueuePlan | undefined;
  readonly isTooLarge: boolean;
}

interface Verdict {
  readonly kind: OutcomeKind;
  readonly text: Buffer;
  readonly replaced?: number;
  readonly shards?: readonly number[] | undefined;
  /** The reason for rejecting the message, if no node of this log wrote it or it is damaged. */
  readonly refusedFor?: string;
}

function applyOne(
  decoded: DecodedMessage,
  { position, payload }: LogMessage,
  logId: string,
  context: Context,
  submissions: Submissions,
): Verdict {
  if (decoded.kind === "unreadable") return refusedFor(decoded.reason);
  // A message of a later format is refused for this reason before all others, by every version alike.
  if (decoded.logTag !== logTagOf(logId)) return FOR_ANOTHER_LOG;
  if (decoded.kind === "later") throw ofLaterFormat(`Transaction ${context.txId} of the log`, decoded);
  if (decoded.kind === "birth") return position === 1 ? { kind: "committed", text: EMPTY } : BORN_LATE;
  const { id } = decoded;
  if (id === undefined) return applyOperations(decoded, context);
  const hash = contentHash(payload);
  const known = submissions.get(id, context.txId);
  if (known !== undefined)
    return Buffer.compare(known.contentHash, hash) === 0
      ? { kind: "duplicate", text: Buffer.from(String(known.txId)) }
      : aborted(`CONFLICT: transaction ${known.txId} has the same id and another content`);
  submissions.add(id, { txId: context.txId, contentHash: hash });
  return applyOperations(decoded, context);
}

function refusedFor(reason: string): Verdict {
  return { ...aborted(`TX_INVALID: ${reason}`), refusedFor: reason };
}

function aborted(reason: string): Verdict {
  return { kind: "aborted", text: Buffer.from(reason, "utf8") };
}

const FOR_ANOTHER_LOG = refusedFor("the message was written for another log");
const BORN_LATE = refusedFor("only the first message of a log is its birth record");

function applyOperations({ ops, header }: LoggedTransaction, context: Context): Verdict {
  const { txId, time, keys, touched, policies, queues, plan, isTooLarge } = context;
  if (isTooLarge) return aborted(TOO_LARGE);
  // Match operations are compared with the state before the transaction, regardless of their position among its
  // operations.
  const conflict = firstConflict(ops, touched) ?? policies?.conflict(ops) ?? plan?.reason;
  if (conflict !== undefined) return aborted(`CONFLICT: ${conflict}`);
  let replaced = 0;
  for (const [index, { op, document }] of ops.entries()) {
    const entry = plan?.writes.get(index);
    if (entry !== undefined) writeEntry(entry, document, context);
    const key = touched[index];
    if (key === undefined || op === "match") continue;
    if (key.document !== undefined) replaced += 1;
    if (op === "put" && document !== undefined) {
      keys.put(key, txId, time, document);
      policies?.written(key, txId, time, document);
    } else if (op === "delete") keys.delete(key, txId, time);
    else if (op === "evict") keys.evict(key, txId, time);
  }
  policies?.take(ops, txId, time);
  if (queues === undefined || plan === undefined) return { kind: "committed", text: header, replaced };
  for (const key of plan.evicted) keys.evict(key, txId, time);
  queues.commit(plan);
  const { shards } = plan;
  return { kind: "committed", text: committedText(header, shards), replaced, shards };
}

function writeEntry(
  { to, from }: QueueWriteKeys,
  added: Uint8Array | undefined,
  { keys, txId, time }: Context,
): void {
  const document = from?.document === undefined ? added : versionValueDocument(withDocument(from.document));
  if (from !== undefined) keys.delete(from, txId, time);
  if (document !== undefined) keys.put(to, txId, time, document);
}

function firstConflict(
  ops: readonly LoggedOperation[],
  touched: readonly (KeyState | undefined)[],
): string | undefined {
  for (const [index, { op, bucket, key, revision }] of ops.entries()) {
    if (op !== "match") continue;
    const found = touched[index]?.document;
    const actual = found === undefined ? null : versionValueRevision(found);
    if (actual === revision) continue;
    return `${bucket} ${key} is ${actual === null ? "absent" : `at revision ${actual}`}`;
  }
  return undefined;
}

/** The birth record must begin the index's own log, or continue exactly where it ends: others have another history. */
function logOfBirth(birth: BirthRecord, { log, txId, sha256 }: IndexState): IndexState["log"] {
  if (continuesAt(birth, { logId: log.id, txId, sha256 })) {
    return { id: birth.log, name: log.name, offset: birth.offset };
  }
  if (birth.log === log.id && birth.continues === undefined) return log;
  throw otherLog(
    `The log was replaced: it is now ${birth.log}, but the index ends at transaction ${txId} of ${log.id}.`,
  );
}

/**
 * A log that continues the index's own is read from its first message, with nothing before it to compare. A server that
 * did not notice that the log was replaced then delivers the beginning of the index's own log.
 */
function notNext({ position }: LogMessage, { id }: IndexState["log"], txId: TxId): CairnError {
  return otherLog(
    `Message ${position} of the log ${id} was delivered in place of the one with transaction ${txId + 1}. A server of the log may have an outdated replica.`,
  );
}

function otherLog(message: string): CairnError {
  const hint =
    "Wait until the node has joined again and compared its index with the log. Nothing of what was delivered was applied.";
  return new CairnError("LOG_DIFFERENT", message, hint);
}

const NO_BUILDS: FieldBuilds = new Map();
const EMPTY = Buffer.alloc(0);
