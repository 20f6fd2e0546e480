import { z } from "zod";

const Count = z.int().min(0);
/** Anybody who may speak to the log's server can send here: what is kept of it is bounded. */
const Text = z.string().max(4_000);

/** Nobody makes a node keep a question for longer. */
const WaitMs = Count.max(3_600_000);

const Digest = z.string().regex(/^[0-9a-f]{64}$/);
const MAX_CHAIN_VALUES = 100;
/** Digests of the log's past at some transactions, of an index of that version. */
const ChainsSchema = z.object({
  version: Count,
  values: z
    .array(z.object({ txId: Count, history: Digest, effects: Digest }))
    .max(MAX_CHAIN_VALUES)
    .readonly(),
});

/** What a node says of its chains. */
export type PeerChains = Readonly<z.infer<typeof ChainsSchema>>;

const Failure = z.object({ code: Text, message: Text, hint: Text.nullable() });

const StatusSchema = z.object({
  version: Text,
  phase: Text,
  log: z.object({
    name: Text.nullable(),
    id: Text.nullable(),
    lastTxId: Count.nullable(),
    reachable: z.boolean().nullable(),
    exists: z.boolean().nullable().optional(),
  }),
  index: z.object({
    txId: Count.nullable(),
    txTime: Text.nullable(),
    documents: Count.nullable(),
    lag: Count.nullable(),
    /** Of the index's layout; digests of two of them say nothing about each other. */
    version: Count.optional(),
    divergence: z
      .object({
        code: Text,
        message: Text,
        from: Count,
        state: z.enum(["open", "waiting", "comparing"]),
      })
      .nullable()
      .optional(),
  }),
  join: z.object({
    restoredFrom: z.object({ name: Text }).nullable(),
    movedAside: z.array(z.object({ code: Text, message: Text })),
    orphans: Count,
  }),
  progress: z
    .object({
      unit: z.enum(["bytes", "transactions", "documents"]),
      done: Count,
      total: Count,
      etaMs: Count.nullable(),
    })
    .nullable(),
  stalled: z.object({ forMs: Count, message: Text }).nullable().optional(),
  checkpoints: z.object({
    last: z.object({ name: Text, txId: Count, takenAt: Text }).nullable(),
    lastVerified: z.object({ name: Text, txId: Count, verifiedAt: Text }).nullable(),
  }),
  failure: Failure.nullable(),
});

/** Of a node's GET /status what a look at the whole cluster needs; what else an answer holds is left out. */
export type PeerStatus = Readonly<z.infer<typeof StatusSchema>>;

/** What would mean something else in a later version has another number there, and is no question here. */
const QuestionSchema = z.discriminatedUnion("ask", [
  z.object({ cairn: z.literal(1), ask: z.literal("status") }),
  z.object({ cairn: z.literal(1), ask: z.literal("digest"), log: Text, txId: Count, waitMs: WaitMs }),
  z.object({ cairn: z.literal(1), ask: z.literal("check"), log: Text, txId: Count, instance: Text }),
  z.object({ cairn: z.literal(1), ask: z.literal("chains"), log: Text, txId: Count }),
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
 * What a node can be asked by those who have the same log open. `status`: as GET /status. `digest`: its digest at a transaction of
 * the log with that id, once it is there, waiting at most `waitMs`. `check`: the node of that instance compares itself with a
 * rebuild out of the log. `chains`: its chains at that transaction, or at the link before it. `compare`: compares its chains with these, of
 * the node that asks, and answers only where they differ. docs/log-format.md describes them.
 */
export type Question = Readonly<z.infer<typeof QuestionSchema>>;

const AnswerSchema = z.object({
  cairn: z.literal(1),
  /** Random, of one start of one node: two nodes of the same id differ in it. */
  instance: Text,
  node: Text,
  host: Text,
  pid: Count,
  startedAt: Text,
  status: StatusSchema.optional(),
  /** The answer is being worked out; `done` of `total` transactions. Sent about every second. */
  working: z.object({ done: Count, total: Count }).optional(),
  digest: z.object({ txId: Count, digest: Text }).optional(),
  check: z.object({ txId: Count, digest: Text, rebuilt: Text, basis: Text, agrees: z.boolean() }).optional(),
  chains: ChainsSchema.optional(),
  error: Failure.optional(),
});

/** What a node answers: who it is, and one of the rest. */
export type Answer = Readonly<z.infer<typeof AnswerSchema>>;

/** Who a node says that it is, in every answer. */
export type PeerIdentity = Pick<Answer, "instance" | "node" | "host" | "pid" | "startedAt">;

/** Any question or answer as bytes. */
export function encodeMessage(message: Question | object): Uint8Array {
  return Buffer.from(JSON.stringify(message), "utf8");
}

/** A question; undefined for what is none, or of a later version. */
export function decodeQuestion(bytes: Uint8Array): Question | undefined {
  return parseWith(QuestionSchema, bytes);
}

/** An answer; undefined for what is none. */
export function decodeAnswer(bytes: Uint8Array): Answer | undefined {
  return parseWith(AnswerSchema, bytes);
}

function parseWith<T>(schema: z.ZodType<T>, bytes: Uint8Array): T | undefined {
  try {
    return schema.safeParse(JSON.parse(Buffer.from(bytes).toString("utf8"))).data;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
