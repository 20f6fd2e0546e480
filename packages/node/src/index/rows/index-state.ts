import { CairnError, type KvReader } from "@cairn/kv";
import { z } from "zod";
import type { Policies, TxId } from "@cairn/client";
import { STATE_ROW_KEY } from "./row-keys.ts";

/**
 * The version of the index's layout. A node reads only its own; another one is refused and built anew, from a checkpoint of
 * this version or from the log. Raise it whenever the same log would give other rows. docs/index-format.md describes the rows.
 */
export const INDEX_VERSION = 3;

const Id = z.int().min(0);

const PoliciesSchema = z.object({
  revision: Id,
  value: z.custom<Policies>((value) => typeof value === "object" && value !== null),
  indexes: z.array(z.object({ id: Id, bucket: z.string(), field: z.string() })),
  nextIndex: Id,
  scan: z.array(z.object({ bucket: z.string(), after: z.string() })),
});

/**
 * The policies in force. `revision`: the transaction that set them; `indexes`: each indexed field with the number of its rows, which
 * no other gets later (`nextIndex`); `scan`: buckets whose documents are still looked through for those that expire, and
 * how far (`after`: the hex of a document row's key, empty where that has not begun).
 */
export type StatePolicies = Readonly<z.infer<typeof PoliciesSchema>>;

const StateSchema = z.object({
  version: z.int(),
  log: z.object({ id: z.string().min(1), name: z.string(), offset: Id }),
  txId: Id,
  time: Id,
  sha256: z.string().length(64),
  documents: Id,
  policies: PoliciesSchema.optional(),
  events: Id.optional(),
  sweep: z.object({ segment: z.string(), key: z.string(), stem: z.string(), seen: Id }).optional(),
  cleaned: Id.optional(),
  pruned: Id.optional(),
});

/**
 * Which prefix of which log the index holds; written in the same batch as the rows of its last message. `txId`: the last message
 * applied, `time`: its transaction's time (ms since 1970), `sha256`: of its payload (with `txId` the anchor), `documents`: current ones,
 * `events`: recorded ones, `sweep`: where the clean-up of history goes on, `cleaned`: the
 * last transaction at which history was removed, `pruned`: what transactions up to this one changed is not known whole any more.
 */
export type IndexState = Readonly<z.infer<typeof StateSchema>>;

/** The position in its log of the last message that an index holds. */
export function statePosition(state: IndexState): number {
  return state.txId - state.log.offset;
}

/** The id of the birth record of a log that continues none; an index at it holds no transaction. */
export const FIRST_TX_ID: TxId = 1;

/** The state row's value. */
export function encodeState(state: IndexState): Uint8Array {
  return Buffer.from(JSON.stringify(state), "utf8");
}

/**
 * The state of the index in a store; undefined when the store is empty. Errors: `INDEX_VERSION` (built by another version),
 * `INDEX_CORRUPT` (there are rows but no state, or one that is not readable).
 */
export async function readState(reader: KvReader): Promise<IndexState | undefined> {
  const value = await reader.get(STATE_ROW_KEY);
  if (value === undefined) {
    for await (const rows of reader.range({ limit: 1 })) {
      if (rows.length > 0) throw corrupt("it has rows but does not say which transactions they hold");
    }
    return undefined;
  }
  const state = parseState(Buffer.from(value).toString("utf8"));
  if (state.version !== INDEX_VERSION) {
    throw new CairnError(
      "INDEX_VERSION",
      `The index has version ${state.version}, this Cairn reads version ${INDEX_VERSION}.`,
      { hint: "The node builds it anew from a checkpoint of its version or from the log." },
    );
  }
  return state;
}

function parseState(text: string): IndexState {
  try {
    return StateSchema.parse(JSON.parse(text));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof z.ZodError) {
      throw corrupt("the row that says what it holds is not readable", error);
    }
    throw error;
  }
}

function corrupt(why: string, cause?: unknown): CairnError {
  return new CairnError("INDEX_CORRUPT", `The index is not usable: ${why}.`, {
    hint: "The node moves it aside and builds it anew from a checkpoint or from the log.",
    cause,
  });
}
