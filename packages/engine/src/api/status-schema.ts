import type { ClusterStatus, NodeStatus, Phase } from "@cairn/client";
import { z } from "zod";

export const PHASES = ["restoring", "replaying", "ready", "stopping", "failed"] as const satisfies Phase[];

const MAX_TEXT_LENGTH = 4_000;
const MAX_ITEMS = 100;
/** A string in a message. Any client that may publish can send messages, so what nodes retain is limited. */
export const Text = z.string().overwrite((text) => text.slice(0, MAX_TEXT_LENGTH));
export const Count = z.int().min(0);
/** An ISO 8601 time in UTC. */
const Time = Text.meta({ format: "date-time" });
const Ms = z.number().min(0);

function list<T extends z.ZodType>(item: T): z.ZodArray<T> {
  return z.array(item).overwrite((items) => items.slice(0, MAX_ITEMS));
}

/** Null if there is no value, or one that only a later version understands. */
function understood<T extends z.ZodType>(schema: T): z.ZodCatch<z.ZodNullable<T>> {
  return schema.nullable().catch(null);
}

export const FailureSchema = z.object({ code: Text, message: Text, hint: Text.nullable() });
const Warning = z.object({ code: Text, message: Text, hint: Text });
const Run = z.object({ txId: Count, history: Text, effects: Text });

const VerdictSchema = z.object({
  state: z.enum(["healthy", "not-ready", "attention", "failing"]).catch("attention"),
  message: Text,
  hint: Text.nullable(),
});

const FindingSchema = z.object({
  code: Text,
  severity: z.enum(["failing", "attention", "notice"]).catch("attention"),
  since: Time.nullable(),
  error: Text.nullable(),
  message: Text,
  meanwhile: Text,
  hint: Text.nullable(),
});

const Log = z.object({
  name: Text.nullable(),
  location: Text.nullable(),
  id: Text.nullable(),
  firstTxId: Count.nullable(),
  lastTxId: Count.nullable(),
  reachable: z.boolean().nullable(),
  exists: z.boolean().nullable(),
  backup: z.object({ location: Text, newestSegmentAt: Time.nullable(), ageMs: Ms.nullable() }).nullable(),
  refused: FailureSchema.extend({ since: Time }).nullable(),
  warnings: list(Warning),
});

const Index = z.object({
  txId: Count.nullable(),
  txTime: Time.nullable(),
  documents: Count.nullable(),
  bytes: Count.nullable(),
  /** Digests of different versions are not comparable. */
  version: Count,
  lag: Count.nullable(),
  chains: list(Run),
  divergence: Warning.extend({
    since: Time,
    from: Count,
    state: z.enum(["open", "waiting", "comparing"]).catch("open"),
  }).nullable(),
  lastScrub: z.object({ at: Time, durationMs: Ms, bytes: Count }).nullable(),
  warning: Warning.exactOptional(),
});

const Join = z.object({
  restoredFrom: z.object({ name: Text, store: Text, txId: Count }).nullable(),
  skipped: list(z.object({ name: Text, store: Text, code: Text, message: Text, others: Count.catch(0) })),
  movedAside: list(z.object({ path: Text, at: Time, code: Text, message: Text })),
  orphans: Count,
  uncompared: list(Text),
  replayed: Count,
  readyAfterMs: Ms.nullable(),
});

const Checkpoints = z.object({
  last: z.object({ name: Text, txId: Count, takenAt: Time, bytes: Count, ageMs: Ms }).nullable(),
  lastSaved: z.object({ name: Text, txId: Count, bytes: Count, at: Time, durationMs: Ms }).nullable(),
  lastVerified: z
    .object({
      name: Text,
      txId: Count,
      verifiedAt: Time,
      node: Text,
      digest: Text,
      ageMs: Ms,
      durationMs: Ms.nullable(),
    })
    .nullable(),
  lastDrill: understood(
    z.object({
      at: Time,
      durationMs: Ms,
      outcome: z.enum(["verified", "failed"]),
      name: Text.nullable(),
      code: Text.nullable(),
      message: Text.nullable(),
      hint: Text.nullable(),
    }),
  ),
  lastCheckAt: Time.nullable(),
  nextCheckAt: Time.nullable(),
  approxFrequencyMs: Ms.nullable(),
  locations: list(Text),
  running: z.object({ startedAt: Time, step: Text, bytes: Count }).nullable(),
  skipped: understood(
    z.object({
      at: Time,
      reason: z.enum(["empty", "unchanged", "recent", "leased"]),
      because: Text,
    }),
  ),
  warnings: list(z.object({ at: Time, about: Text, message: Text, hint: Text })),
  lastFailure: FailureSchema.extend({ at: Time }).nullable(),
  store: z
    .object({
      location: Text,
      exclusive: z.boolean(),
      canDelete: z.boolean(),
      checksums: Text,
    })
    .nullable(),
});

const LogBackup = z.object({
  location: Text,
  everyMs: Ms,
  covered: list(z.object({ first: Count, last: Count })).nullable(),
  segments: Count.nullable(),
  bytes: Count.nullable(),
  exposed: z.object({ transactions: Count.nullable(), since: Time.nullable() }),
  lastLookAt: Time.nullable(),
  nextLookAt: Time.nullable(),
  failedLooks: Count,
  written: z.object({ segments: Count, bytes: Count }),
  warnings: list(Warning),
  lastFailure: FailureSchema.extend({ since: Time }).nullable(),
});

/**
 * The body of GET /status, and of the responses in which nodes pass it on. The OpenAPI document and the messages between
 * nodes are derived from it. {@link NodeStatus} has the same fields, with their meanings.
 */
export const StatusSchema = z.object({
  node: Text,
  version: Text,
  phase: z.enum(PHASES),
  verdict: VerdictSchema,
  findings: list(FindingSchema),
  log: Log,
  index: Index,
  join: Join,
  progress: understood(
    z.object({
      unit: z.enum(["bytes", "transactions", "documents"]),
      done: Count,
      total: Count,
      etaMs: Ms.nullable(),
    }),
  ),
  attached: understood(
    z.object({ checkpoint: Text, txId: Count, txTime: Time, takenAt: Time, requests: Count, bytes: Count }),
  ),
  ownIndexes: list(
    z.object({
      name: Text,
      version: Count,
      state: z.enum(["building", "behind", "live", "failed"]),
      txId: Count.nullable(),
      served: Count.nullable(),
      built: Count.nullable(),
      failure: FailureSchema.extend({ since: Time, nextTryAt: Time }).nullable(),
    }),
  ).catch([]),
  stalled: understood(
    z.object({
      phase: z.enum(PHASES),
      txId: Count,
      since: Time,
      forMs: Ms,
      waitingFor: z.enum(["log", "messages", "store", "files"]),
      message: Text,
    }),
  ),
  checkpoints: Checkpoints,
  logBackup: LogBackup.nullable(),
  failure: FailureSchema.extend({ retries: z.boolean(), nextTryAt: Time.nullable() }).nullable(),
  resources: z.object({
    uptimeMs: Ms,
    memoryBytes: Count,
    processorMs: Ms,
    diskFreeBytes: Count.nullable(),
    diskTotalBytes: Count.nullable(),
  }),
}) satisfies z.ZodType<NodeStatus>;

/** The status of another node, which may run a later version. */
export const PeerStatusSchema = StatusSchema.extend({ phase: Text });

/** The body of GET /status/cluster. */
export const ClusterStatusSchema = z.object({
  at: Time,
  askedBy: z.object({ node: Text, instance: Text }),
  verdict: VerdictSchema,
  log: Log.pick({ name: true, id: true, lastTxId: true }),
  nodes: z.array(
    z.object({
      instance: Text,
      node: Text,
      host: Text,
      pid: Count,
      startedAt: Time,
      status: PeerStatusSchema,
      sameLog: z.boolean().nullable(),
      past: Run.nullable(),
    }),
  ),
  silent: z.array(z.object({ instance: Text, node: Text, forMs: Ms })),
  sameId: z.array(Text),
  past: z.object({ txId: Count, differ: z.enum(["history", "effects"]).nullable() }).nullable(),
  findings: z.array(FindingSchema.extend({ node: Text.nullable() })),
}) satisfies z.ZodType<ClusterStatus>;
