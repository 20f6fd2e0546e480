import type { NodeStatus, PeerStatus } from "@cairn/client";
import { z } from "zod";

const Count = z.int().min(0);
/** A duration (ms). */
const Ms = z.number().min(0);
/**
 * A string in a message. Any client that may publish to the log's server can send messages, so the size of what nodes
 * retain is limited.
 */
const Text = z.string().max(4_000);

/** The time for which a node keeps a request (ms), at most one hour. */
const WaitMs = Count.max(3_600_000);

const Digest = z.string().regex(/^[0-9a-f]{64}$/);
const MAX_CHAIN_VALUES = 100;
/** The chains of an index of one version at some transactions. */
const ChainsSchema = z.object({
  version: Count,
  values: z
    .array(z.object({ txId: Count, history: Digest, effects: Digest }))
    .max(MAX_CHAIN_VALUES)
    .readonly(),
});

export type PeerChains = Readonly<z.infer<typeof ChainsSchema>>;

const Failure = z.object({ code: Text, message: Text, hint: Text.nullable() });

/** The maximum number of instances in a request, and of nodes in a response to it. */
const MAX_INSTANCES = 5_000;
const MAX_SILENT = 100;
/** A node that another node has heard from, and how long the former has been silent (ms). */
const SilentSchema = z.object({ instance: Text, node: Text, forMs: Count });

/** A node that another node has heard from. */
export type SilentNode = Readonly<z.infer<typeof SilentSchema>>;

/** The maximum number of items of a list in a status. */
const MAX_ITEMS = 100;
/** Null if there is no value, or one that only a later version understands. */
const understood = <T extends z.ZodType>(schema: T): z.ZodCatch<z.ZodNullable<T>> =>
  schema.nullable().catch(null);

const Warning = z.object({ code: Text, message: Text, hint: Text });
const DatedFailure = Failure.extend({ at: Text });
const Rate = z.object({
  perSecond: z.number().min(0),
  p50Ms: Ms.nullable(),
  p99Ms: Ms.nullable(),
});

const StatusSchema = z.object({
  version: Text,
  phase: Text,
  log: z.object({
    name: Text.nullable(),
    location: Text.nullable(),
    id: Text.nullable(),
    firstTxId: Count.nullable(),
    lastTxId: Count.nullable(),
    reachable: z.boolean().nullable(),
    exists: z.boolean().nullable(),
    warnings: z.array(Warning).max(MAX_ITEMS),
  }),
  index: z.object({
    txId: Count.nullable(),
    txTime: Text.nullable(),
    documents: Count.nullable(),
    bytes: Count.nullable(),
    lag: Count.nullable(),
    /** The version of the index. Digests of different versions are not comparable. */
    version: Count,
    divergence: z
      .object({
        since: Text,
        code: Text,
        message: Text,
        hint: Text,
        from: Count,
        state: z.enum(["open", "waiting", "comparing"]),
      })
      .nullable(),
    lastScrub: z.object({ at: Text, durationMs: Ms, bytes: Count }).nullable(),
    warning: Warning.exactOptional(),
  }),
  join: z.object({
    restoredFrom: z.object({ name: Text }).nullable(),
    movedAside: z.array(z.object({ code: Text, message: Text })),
    orphans: Count,
    replayed: Count,
    readyAfterMs: Ms.nullable(),
  }),
  progress: z
    .object({
      unit: z.enum(["bytes", "transactions", "documents"]),
      done: Count,
      total: Count,
      etaMs: Count.nullable(),
    })
    .nullable(),
  stalled: z.object({ since: Text, forMs: Count, message: Text }).nullable(),
  checkpoints: z.object({
    last: z.object({ name: Text, txId: Count, takenAt: Text, bytes: Count, ageMs: Ms }).nullable(),
    lastVerified: z.object({ name: Text, txId: Count, verifiedAt: Text, node: Text, ageMs: Ms }).nullable(),
    lastSaved: z.object({ name: Text, txId: Count, bytes: Count, at: Text, durationMs: Ms }).nullable(),
    lastDrill: understood(
      z.object({
        at: Text,
        durationMs: Ms,
        outcome: z.enum(["verified", "failed"]),
        name: Text.nullable(),
        code: Text.nullable(),
        message: Text.nullable(),
        hint: Text.nullable(),
      }),
    ),
    approxFrequencyMs: Ms.nullable(),
    lastCheckAt: Text.nullable(),
    nextCheckAt: Text.nullable(),
    running: z.object({ startedAt: Text, step: Text, bytes: Count }).nullable(),
    skipped: understood(
      z.object({
        at: Text,
        reason: z.enum(["empty", "unchanged", "recent", "leased", "short-tail"]),
        because: Text,
      }),
    ),
    warnings: z.array(z.object({ at: Text, about: Text, message: Text, hint: Text })).max(MAX_ITEMS),
    lastFailure: DatedFailure.nullable(),
  }),
  logBackup: z
    .object({
      location: Text,
      everyMs: Ms,
      segments: Count.nullable(),
      bytes: Count.nullable(),
      exposed: z.object({ transactions: Count.nullable(), since: Text.nullable() }),
      lastLookAt: Text.nullable(),
      warnings: z.array(Warning).max(MAX_ITEMS),
      lastFailure: Failure.nullable(),
    })
    .nullable(),
  failure: Failure.extend({ retries: z.boolean(), nextTryAt: Text.nullable() }).nullable(),
  resources: z.object({
    uptimeMs: Ms,
    memoryBytes: Count,
    processorMs: Ms,
    diskFreeBytes: Count.nullable(),
    diskTotalBytes: Count.nullable(),
    reads: Rate,
    writes: Rate,
  }),
});

/** A later version that changes the meaning of requests uses another number for `cairn`, which is rejected here. */
const QuestionSchema = z.discriminatedUnion("ask", [
  z.object({ cairn: z.literal(1), ask: z.literal("status") }),
  z.object({ cairn: z.literal(1), ask: z.literal("digest"), log: Text, txId: Count, waitMs: WaitMs }),
  z.object({ cairn: z.literal(1), ask: z.literal("check"), log: Text, txId: Count, instance: Text }),
  z.object({ cairn: z.literal(1), ask: z.literal("chains"), log: Text, txId: Count }),
  z.object({
    cairn: z.literal(1),
    ask: z.literal("others"),
    log: Text,
    instances: z.array(Text).max(MAX_INSTANCES),
  }),
  z.object({ cairn: z.literal(1), ask: z.literal("leaving"), instance: Text }),
  z.object({
    cairn: z.literal(1),
    ask: z.literal("compare"),
    log: Text,
    node: Text,
    instance: Text,
    chains: ChainsSchema,
  }),
]);

/**
 * A request to the nodes that have the same log open. `status` requests the content of GET /status. `digest` requests
 * the digest at a transaction of the log with that id; the node waits for the transaction, but at most `waitMs`.
 * `check` requests that the node with that instance compare itself with a rebuild from the log. `chains` requests the
 * chains at that transaction, or at the link before it. `compare` requests that the node compare its chains with those
 * of the sender, and respond only if they differ. `others` requests the nodes that the node has heard from and that are
 * not among these instances. `leaving` announces that the node with that instance is stopping. docs/log-format.md
 * describes these requests.
 */
export type Question = Readonly<z.infer<typeof QuestionSchema>>;

const AnswerSchema = z.object({
  cairn: z.literal(1),
  /** A random id generated at each start of a node. It distinguishes nodes with the same id. */
  instance: Text,
  node: Text,
  host: Text,
  pid: Count,
  startedAt: Text,
  /** The part of a node's GET /status that other nodes pass on. Other fields of a response are dropped. */
  status: StatusSchema.optional(),
  /** Sent about once a second while the node works on the response: it has processed `done` of `total` transactions. */
  working: z.object({ done: Count, total: Count }).optional(),
  digest: z.object({ txId: Count, digest: Text }).optional(),
  check: z.object({ txId: Count, digest: Text, rebuilt: Text, basis: Text, agrees: z.boolean() }).optional(),
  chains: ChainsSchema.optional(),
  others: z.array(SilentSchema).max(MAX_SILENT).optional(),
  error: Failure.optional(),
});

export type Answer = Readonly<z.infer<typeof AnswerSchema>>;

/** The identity of a node, which is part of each response. */
export type PeerIdentity = Pick<Answer, "instance" | "node" | "host" | "pid" | "startedAt">;

export function encodeMessage(message: Question | object): Uint8Array {
  return Buffer.from(JSON.stringify(message), "utf8");
}

/** Decodes a request. Returns undefined for anything else, including requests of later versions. */
export function decodeQuestion(bytes: Uint8Array): Question | undefined {
  return parseWith(QuestionSchema, bytes);
}

/** Decodes a response. Returns undefined for anything else. */
export function decodeAnswer(bytes: Uint8Array): Answer | undefined {
  return parseWith(AnswerSchema, bytes);
}

/** Returns the part of this node's status that other nodes would pass on. */
export function passedOn(status: NodeStatus): PeerStatus {
  return StatusSchema.safeParse(status).data ?? status;
}

function parseWith<T>(schema: z.ZodType<T>, bytes: Uint8Array): T | undefined {
  try {
    return schema.safeParse(JSON.parse(Buffer.from(bytes).toString("utf8"))).data;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
