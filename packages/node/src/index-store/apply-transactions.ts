import { CairnError, type KvOperation, type KvReader } from "@cairn/kv";
import { anchorOf } from "../tx-log/anchor.ts";
import type { BirthRecord } from "../tx-log/birth-record.ts";
import {
  contentHash,
  type DecodedMessage,
  decodeMessage,
  type LoggedTransaction,
} from "../tx-log/transaction-codec.ts";
import type { LogMessage } from "../tx-log/tx-log.ts";
import type { TxId } from "../tx-log/transaction.ts";
import { encodeState, INDEX_VERSION, type IndexState } from "./index-state.ts";
import { KeyStates } from "./key-states.ts";
import { STATE_ROW_KEY, submissionRowKey, transactionRowKey } from "./row-keys.ts";
import {
  decodeSubmission,
  encodeOutcome,
  encodeSubmission,
  type OutcomeKind,
  versionValueRevision,
} from "./row-values.ts";

/** A message of the log, decoded once. */
export interface IndexedMessage {
  readonly message: LogMessage;
  readonly decoded: DecodedMessage;
}

/** What applying gives: the rows of one batch, the state that the batch's state row says, and how many transactions committed. */
export interface Applied {
  readonly rows: KvOperation[];
  readonly state: IndexState;
  readonly committed: number;
}

/** Decodes messages and cuts them where a batch must begin: before and after a transaction that evicts. */
export function decodeAndCut(messages: readonly LogMessage[]): IndexedMessage[][] {
  const batches: IndexedMessage[][] = [];
  let current: IndexedMessage[] = [];
  for (const message of messages) {
    const indexed = { message, decoded: decodeMessage(message.payload) };
    if (evicts(indexed.decoded)) {
      if (current.length > 0) batches.push(current);
      batches.push([indexed]);
      current = [];
    } else {
      current.push(indexed);
    }
  }
  if (current.length > 0) batches.push(current);
  return batches;
}

/**
 * What a run of messages does to an index: a pure function of the messages and of what `reader` shows of the state before
 * them. However a log is cut into runs, the rows end the same (only {@link decodeAndCut}'s cuts are needed). The first message of a
 * log is its birth record, which makes no rows but its outcome.
 */
export async function applyMessages(
  messages: readonly IndexedMessage[],
  before: IndexState,
  reader: KvReader,
): Promise<Applied> {
  const transactions = messages.flatMap(({ decoded }) => (decoded.kind === "transaction" ? [decoded] : []));
  const keys = new KeyStates(before.documents);
  await keys.load(transactions, reader);
  const submissions = await Submissions.load(transactions, reader);
  const outcomes: KvOperation[] = [];
  let { txId, time } = before;
  let committed = 0;
  for (const { message, decoded } of messages) {
    if (decoded.kind === "birth") assertSameLog(decoded.birth, before);
    txId = message.position + before.log.offset;
    time = Math.max(time, message.time);
    const verdict = await applyOne(decoded, message.payload, { txId, time, keys, submissions, reader });
    if (verdict.kind === "committed") committed += 1;
    const value = encodeOutcome(time, verdict.kind, verdict.text);
    outcomes.push({ type: "put", key: transactionRowKey(txId), value });
  }
  const last = messages.at(-1);
  if (last === undefined) throw new Error("nothing to apply");
  const { sha256 } = anchorOf(last.message);
  const state = { ...before, version: INDEX_VERSION, txId, time, sha256, documents: keys.documents };
  const rows = keys.rows();
  for (const row of outcomes) rows.push(row);
  for (const row of submissions.rows()) rows.push(row);
  rows.push({ type: "put", key: STATE_ROW_KEY, value: encodeState(state) });
  return { rows, state, committed };
}

interface Context {
  readonly txId: TxId;
  readonly time: number;
  readonly keys: KeyStates;
  readonly submissions: Submissions;
  readonly reader: KvReader;
}

interface Verdict {
  readonly kind: OutcomeKind;
  readonly text: Uint8Array;
}

async function applyOne(decoded: DecodedMessage, payload: Uint8Array, context: Context): Promise<Verdict> {
  if (decoded.kind === "unreadable") return aborted(`TX_INVALID: ${decoded.reason}`);
  if (decoded.kind === "birth") return { kind: "committed", text: EMPTY };
  const { id } = decoded;
  if (id === undefined) return await applyOperations(decoded, context);
  const hash = contentHash(payload);
  const known = context.submissions.get(id);
  if (known !== undefined) return appliedBefore(known, hash);
  context.submissions.add(id, encodeSubmission(context.txId, hash));
  return await applyOperations(decoded, context);
}

/** An id is applied once. What comes again points to the first; another content under the same id is refused. */
function appliedBefore(known: Uint8Array, hash: Uint8Array): Verdict {
  const first = decodeSubmission(known);
  return Buffer.compare(first.contentHash, hash) === 0
    ? { kind: "duplicate", text: Buffer.from(String(first.txId)) }
    : aborted(`CONFLICT: transaction ${first.txId} has the same id and another content`);
}

function aborted(reason: string): Verdict {
  return { kind: "aborted", text: Buffer.from(reason, "utf8") };
}

async function applyOperations(
  transaction: LoggedTransaction,
  { txId, time, keys, reader }: Context,
): Promise<Verdict> {
  for (const { op, bucket, namespace, name, revision } of transaction.ops) {
    if (op !== "match") continue;
    const found = keys.get(bucket, namespace, name).document;
    const actual = found === undefined ? null : versionValueRevision(found);
    if (actual !== revision) {
      const is = actual === null ? "absent" : `at revision ${actual}`;
      return aborted(`CONFLICT: ${bucket} ${namespace}/${name} is ${is}`);
    }
  }
  for (const { op, bucket, namespace, name, document } of transaction.ops) {
    if (op === "match") continue;
    const key = keys.get(bucket, namespace, name);
    if (op === "put" && document !== undefined) keys.put(key, txId, time, document);
    else if (op === "delete") keys.delete(key, txId, time);
    else if (op === "evict") await keys.evict(key, txId, reader);
  }
  return { kind: "committed", text: transaction.header };
}

/** Idempotency ids of a batch: those that the index knows, and those that the batch adds. */
class Submissions {
  readonly #known: Map<string, Uint8Array>;
  readonly #added: KvOperation[] = [];

  private constructor(known: Map<string, Uint8Array>) {
    this.#known = known;
  }

  static async load(transactions: readonly LoggedTransaction[], reader: KvReader): Promise<Submissions> {
    const ids = transactions.flatMap(({ id }) => (id === undefined ? [] : [id]));
    const known = new Map<string, Uint8Array>();
    if (ids.length === 0) return new Submissions(known);
    const values = await reader.getMany(ids.map(submissionRowKey));
    for (const [index, id] of ids.entries()) {
      const value = values[index];
      if (value !== undefined) known.set(id, value);
    }
    return new Submissions(known);
  }

  get(id: string): Uint8Array | undefined {
    return this.#known.get(id);
  }

  add(id: string, value: Uint8Array): void {
    this.#known.set(id, value);
    this.#added.push({ type: "put", key: submissionRowKey(id), value });
  }

  rows(): readonly KvOperation[] {
    return this.#added;
  }
}

/** A birth record anywhere but at its own log's beginning: what follows is another history. */
function assertSameLog(birth: BirthRecord, { log }: IndexState): void {
  if (birth.log === log.id) return;
  throw new CairnError(
    "LOG_DIFFERENT",
    `The log began anew: it is ${birth.log}, the index is of ${log.id}.`,
    {
      hint: "Nothing of it was applied. The node joins again and compares.",
    },
  );
}

const EMPTY = new Uint8Array(0);

function evicts(decoded: DecodedMessage): boolean {
  return decoded.kind === "transaction" && decoded.ops.some(({ op }) => op === "evict");
}
