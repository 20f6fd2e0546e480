import { CairnError, type KvOperation, type KvReader } from "@cairn/kv";
import { z } from "zod";
import type { Policies, TxId } from "@cairn/client";
import { STATE_ROW_KEY, asBuffer } from "./row-keys.ts";
import { firstRow } from "./row-cursor.ts";
import { rowChecksum, unusableIndex } from "./row-checksum.ts";
import { MARK_BYTES, NO_MARK } from "./chain-rows.ts";
import type { LogIdentity } from "../../log/log-identity.ts";

/**
 * The version of the index's layout. Raise it whenever the same log would result in different rows, and let
 * {@link readState} read the previous one. docs/internals/index-format.md describes the rows.
 */
export const INDEX_VERSION = 3;
/** The oldest version that this one reads: that of the first release. */
const OLDEST_VERSION = 2;

function isReadableVersion(version: number): boolean {
  return version >= OLDEST_VERSION && version <= INDEX_VERSION;
}

/** Returns whether a node whose store has the format `kvFormat` can continue from an index in a format. */
export function isReadable(
  format: { readonly index: number; readonly kv: string },
  kvFormat: string,
): boolean {
  return isReadableVersion(format.index) && format.kv === kvFormat;
}

const Id = z.int().min(0);

const PoliciesSchema = z.object({
  revision: Id,
  value: z.custom<Policies>((value) => typeof value === "object" && value !== null),
  indexes: z.array(z.object({ id: Id, bucket: z.string(), field: z.string() })),
  nextIndex: Id,
  scan: z.array(z.object({ bucket: z.string(), after: z.string() })),
});

/**
 * The policies in force. `revision` is the transaction that set them. `indexes` contains the indexed fields, each with
 * the number in its rows, which is never reused (`nextIndex`). `scan` contains the buckets whose documents are still
 * being scanned for those that expire, each with the document row key (in hex) up to which it has been scanned
 * (`after`, which is empty at the beginning).
 */
export type StatePolicies = Readonly<z.infer<typeof PoliciesSchema>>;

const StateSchema = z.object({
  version: z.int(),
  log: z.object({ id: z.string().min(1), name: z.string(), offset: Id }),
  txId: Id,
  time: Id,
  mark: z.string().length(2 * MARK_BYTES),
  sha256: z.string().length(64),
  documents: Id,
  largest: Id,
  policies: PoliciesSchema.optional(),
  events: Id.optional(),
  eventsFrom: Id.optional(),
  dueFrom: Id.optional(),
  superseded: Id.optional(),
  sweep: z.object({ segment: z.string(), key: z.string(), stem: z.string(), seen: Id }).optional(),
  cleaned: Id.optional(),
  pruned: Id.optional(),
  outcomesAfter: Id.optional(),
  unshown: Id.optional(),
  retiring: z.array(z.object({ queue: z.string(), shard: Id })).optional(),
  evicting: z.literal(true).optional(),
  /** Versions up to this transaction contain their documents, however large: they were written by version 2. */
  inPlace: Id.optional(),
});

/**
 * The state of an index: the log and the prefix of it that the index holds. It is written in the same batch as the rows
 * of its last message. docs/internals/index-format.md (`mstate`) describes its members.
 */
export type IndexState = Readonly<z.infer<typeof StateSchema>>;

const MEMBERS = Object.keys(StateSchema.shape) as readonly (keyof IndexState)[];

/** Returns the first transaction whose outcome a policy has kept; 0 if no outcome was removed. */
export function firstKept({ outcomesAfter }: Pick<IndexState, "outcomesAfter">): TxId {
  return outcomesAfter === undefined ? 0 : outcomesAfter + 1;
}

export function statePosition(state: IndexState): number {
  return state.txId - state.log.offset;
}

export function emptyState(identity: LogIdentity): IndexState {
  const offset = identity.birth?.offset ?? 0;
  return {
    version: INDEX_VERSION,
    log: { id: identity.id, name: identity.name, offset },
    txId: offset,
    time: 0,
    mark: NO_MARK,
    // This is a placeholder rather than a hash, because an empty index has no anchor (see `lastKnown`).
    sha256: "0".repeat(64),
    documents: 0,
    largest: 0,
  };
}

/**
 * Returns the offset from the log's positions to transaction ids. `state` is the state of an index that agrees with the
 * log.
 */
export function logOffset({ birth }: LogIdentity, state: IndexState): number {
  return birth?.offset ?? state.log.offset;
}

/** The birth record of a log that does not continue another one. */
export const FIRST_TX_ID: TxId = 1;

/**
 * Returns whether an index, a backup or a log that ends with a transaction holds any beside the birth record. If not,
 * nothing is lost with it: there is nothing to recover, and another log may begin in its place.
 */
export function holdsTransactions(txId: TxId): boolean {
  return txId > FIRST_TX_ID;
}

/** JSON whose last member is a checksum over the row's key and the JSON without this member. */
export function encodeState(state: IndexState): Uint8Array {
  // The order of the members must not depend on when a member was set first, or on restarts.
  const ordered: Partial<Record<keyof IndexState, unknown>> = {};
  for (const name of MEMBERS) ordered[name] = state[name];
  const json = Buffer.from(JSON.stringify(ordered), "utf8");
  return Buffer.concat([json.subarray(0, -1), checksumMember(json)]);
}

export function stateRow(state: IndexState): KvOperation {
  return { type: "put", key: STATE_ROW_KEY, value: encodeState(state) };
}

const CHECKSUM_NAME = ',"crc32c":"';
const CHECKSUM_BYTES = `${CHECKSUM_NAME}00000000"}`.length;
const CLOSING = Buffer.from("}");

/** Returns the last member of a state row's JSON, with the closing brace. */
function checksumMember(json: Uint8Array): Buffer {
  const digits = rowChecksum(STATE_ROW_KEY, json).toString(16).padStart(8, "0");
  return Buffer.from(`${CHECKSUM_NAME}${digits}"}`);
}

/**
 * Undefined for an empty store. Throws `INDEX_VERSION` (a later version's) or `INDEX_CORRUPT` (no intact state). The index
 * of an earlier version is read as one of this version, and its next batch makes it one.
 */
export async function readState(reader: KvReader): Promise<IndexState | undefined> {
  const value = await reader.get(STATE_ROW_KEY);
  if (value === undefined) {
    if ((await firstRow(reader, {})) === undefined) return undefined;
    throw unusableIndex("it has rows but no state row, so its transactions are unknown");
  }
  const bytes = asBuffer(value);
  if (!isIntact(bytes)) throw unusableIndex("its state row does not match its checksum");
  const version = versionInState(bytes);
  if (!isReadableVersion(version)) {
    throw new CairnError(
      "INDEX_VERSION",
      `The index has version ${version}, but this version of Cairn reads versions up to ${INDEX_VERSION}.`,
      "Start the node: it builds a new index from a checkpoint of the right version or from the log.",
    );
  }
  const state = parse(StateSchema, bytes.toString("utf8"));
  const inPlace = version === 2 ? state.txId : state.inPlace;
  return { ...state, version: INDEX_VERSION, inPlace };
}

function isIntact(bytes: Buffer): boolean {
  const json = Buffer.concat([bytes.subarray(0, Math.max(0, bytes.length - CHECKSUM_BYTES)), CLOSING]);
  return checksumMember(json).equals(bytes.subarray(json.length - 1));
}

const PrefixSchema = StateSchema.pick({ log: true, txId: true, time: true, sha256: true });

/** The prefix of a log's history that an index holds, from its state. */
export type StatePrefix = Readonly<z.infer<typeof PrefixSchema>>;

/** Returns what the state row of any version shows of the prefix; undefined if it is damaged or unreadable. */
export function prefixInState(value: Uint8Array): StatePrefix | undefined {
  const bytes = asBuffer(value);
  if (!isIntact(bytes)) return undefined;
  try {
    return PrefixSchema.safeParse(JSON.parse(bytes.toString("utf8"))).data;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** The part of the state that every version writes. */
const VersionSchema = z.object({ version: z.int() });

/** Returns the version in a state row, which {@link readState} replaces. */
export function versionInState(value: Uint8Array): number {
  return parse(VersionSchema, asBuffer(value).toString("utf8")).version;
}

function parse<State>(schema: z.ZodType<State>, text: string): State {
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof z.ZodError) {
      throw unusableIndex("its state row is not readable", error);
    }
    throw error;
  }
}
