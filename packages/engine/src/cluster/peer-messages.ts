import type { Finding, NodeStatus, PeerStatus } from "@cairn/client";
import { z } from "zod";
import { Count, FailureSchema, PeerStatusSchema, Text } from "../api/status-schema.ts";
import { finding } from "../findings/findings.ts";
import { formatBytes, parsedJson } from "@cairn/text";

/** The time for which a node keeps a request (ms), at most one hour. */
const WaitMs = Count.max(3_600_000);

const Digest = z.string().regex(/^[0-9a-f]{64}$/);
const MAX_CHAIN_VALUES = 100;
const ChainsSchema = z
  .array(z.object({ txId: Count, history: Digest, effects: Digest }))
  .max(MAX_CHAIN_VALUES)
  .readonly();

/** The maximum number of instances in a request, and of nodes in a response to it. */
const MAX_INSTANCES = 5_000;
const MAX_SILENT = 100;
/** A node that another node has heard from, and how long the former has been silent (ms). */
const SilentSchema = z.object({ instance: Text, node: Text, forMs: Count });

export type SilentNode = Readonly<z.infer<typeof SilentSchema>>;

/** A later version that changes the meaning of requests uses another number for `cairn`, which is rejected here. */
const QuestionSchema = z.discriminatedUnion("ask", [
  z.object({ cairn: z.literal(1), ask: z.literal("status") }),
  z.object({ cairn: z.literal(1), ask: z.literal("digest"), log: Text, txId: Count, waitMs: WaitMs }),
  z.object({ cairn: z.literal(1), ask: z.literal("check"), log: Text, txId: Count, instance: Text }),
  z.object({
    cairn: z.literal(1),
    ask: z.literal("others"),
    log: Text,
    instances: z.array(Text).max(MAX_INSTANCES),
  }),
  z.object({ cairn: z.literal(1), ask: z.literal("leaving"), node: Text }),
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
 * A request to the nodes of a log (docs/internals/log-format.md). `status`: the content of GET /status. `digest`: the
 * digest at a transaction, for which the node waits at most `waitMs`. `check`: that instance compares itself with a
 * rebuild from the log. `compare`: a response only if the chains differ. `others`: the nodes heard from beyond these
 * instances. `leaving`: the node with that id is stopping.
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
  /** The node's GET /status. Fields that only a later version knows are dropped. */
  status: PeerStatusSchema.optional(),
  /** Sent about once a second while the node works on the response: it has processed `done` of `total` transactions. */
  working: z.object({ done: Count, total: Count }).optional(),
  digest: z.object({ txId: Count, digest: Text }).optional(),
  check: z.object({ txId: Count, digest: Text, rebuilt: Text, basis: Text, agrees: z.boolean() }).optional(),
  chains: ChainsSchema.optional(),
  others: z.array(SilentSchema).max(MAX_SILENT).optional(),
  error: FailureSchema.optional(),
});

export type Answer = Readonly<z.infer<typeof AnswerSchema>>;

/** The content of an answer. */
export type AnswerContent = Partial<Omit<Answer, keyof PeerIdentity | "cairn" | "status">> & {
  readonly status?: PeerStatus;
};

export const IndexAnswerSchema = AnswerSchema.pick({
  digest: true,
  check: true,
  others: true,
  error: true,
});

export type IndexAnswer = Readonly<z.infer<typeof IndexAnswerSchema>>;

export type PeerIdentity = Pick<Answer, "instance" | "node" | "host" | "pid" | "startedAt">;

export function encodeMessage(message: Question | object): Uint8Array {
  return Buffer.from(JSON.stringify(message), "utf8");
}

/** The maximum numbers of items and characters in an answer, from which the first that make it fit are taken. */
const SHORTER = [
  { items: 20, characters: 1_000 },
  { items: 5, characters: 500 },
  { items: 0, characters: 200 },
];

/**
 * Encodes an answer in at most `maxBytes`, because one that is not delivered makes the node appear dead. If it has more,
 * its lists and texts are cut, most important items first, and a finding says so.
 */
export function encodeAnswer(answer: PeerIdentity & AnswerContent, maxBytes: number): Uint8Array {
  const message = { cairn: 1, ...answer };
  let bytes = encodeMessage(message);
  const whole = bytes.length;
  for (const { items, characters } of SHORTER) {
    if (bytes.length <= maxBytes) break;
    const { status, ...rest } = shortened(message, items, characters);
    const cut = status && { ...status, findings: [...status.findings, statusShortened(whole, maxBytes)] };
    bytes = encodeMessage({ ...rest, status: cut });
  }
  return bytes;
}

function shortened<T>(value: T, items: number, characters: number): T {
  const text = JSON.stringify(value, (_, part: unknown) => {
    if (Array.isArray(part)) return part.slice(0, items) as unknown;
    return typeof part === "string" ? part.slice(0, characters) : part;
  });
  return JSON.parse(text) as T;
}

function statusShortened(bytes: number, maxBytes: number): Finding {
  const message = `The status of this node has ${formatBytes(bytes)}, and a message to other nodes at most ${formatBytes(maxBytes)}, so parts of its lists and texts are missing here.`;
  const hint = "Read the whole status from that node: cairn status --url URL (the address of that node).";
  return finding("status-shortened", { message, hint });
}

export function decodeQuestion(bytes: Uint8Array): Question | undefined {
  return parseWith(QuestionSchema, bytes);
}

export function decodeAnswer(bytes: Uint8Array): Answer | undefined {
  return parseWith(AnswerSchema, bytes);
}

export function passedOn(status: NodeStatus): PeerStatus {
  return PeerStatusSchema.safeParse(status).data ?? status;
}

function parseWith<T>(schema: z.ZodType<T>, bytes: Uint8Array): T | undefined {
  return schema.safeParse(parsedJson(Buffer.from(bytes).toString("utf8"))).data;
}
