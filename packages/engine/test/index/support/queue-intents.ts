import fc from "fast-check";
import type { EntryOptions, Json, QueuePolicy, AnyOperation } from "@cairn/client";
import type { QueueOracle } from "./queue-oracle.ts";

export const QUEUE = "jobs";
/** The number of shards that operations name, one of which no policy has. */
const SHARDS = 4;

export const POLICY: QueuePolicy = { shards: 3, cap: 2, terminal: { state: ["done", "dead"] }, lease: 20 };

/**
 * What a transaction is going to do, before the state in which it does it is known: an epoch may be the current one of
 * the shard, and a place the one where the entry is.
 */
type Intent = (oracle: QueueOracle) => AnyOperation;

const shard = fc.nat({ max: SHARDS - 1 });
const name = fc.constantFrom("a", "b", "c", "d", "e", "f");
const document = fc.constantFrom<Json>({ state: "new" }, { state: "done" }, { state: "dead" }, 7);
const who = fc.constantFrom("one", "two");
const isRight = fc.oneof(
  { weight: 6, arbitrary: fc.constant(true) },
  { weight: 1, arbitrary: fc.constant(false) },
);
const wrongEpoch = fc.integer({ min: 1, max: 40 });

function epochOf(oracle: QueueOracle, at: number, right: boolean, otherwise: number): number {
  const epoch = oracle.epoch(at);
  return right && epoch > 0 ? epoch : otherwise;
}

/** Returns the hold of a shard: an epoch alone or, in half of the cases, with the name of a holder. */
function holdOf(oracle: QueueOracle, at: number, right: boolean, otherwise: number): number | EntryOptions {
  const epoch = epochOf(oracle, at, right, otherwise);
  if (otherwise % 2 === 0) return epoch;
  return { epoch, as: otherwise % 10 === 1 ? "one" : (oracle.holder(at)?.as ?? "one") };
}

/** Chooses a shard in this state, or any shard if there is none. */
function shardIn(oracle: QueueOracle, state: string, otherwise: number): number {
  const found = oracle.shards().filter((one) => oracle.state(one) === state);
  return found[otherwise % Math.max(1, found.length)] ?? otherwise;
}

const claim = fc.tuple(shard, who).map(([at, as]): Intent => () => ["claim", QUEUE, at, { as }]);
const drain = fc.tuple(shard, who, isRight).map(([at, as, right]): Intent => (oracle) => [
  "drain",
  QUEUE,
  right ? shardIn(oracle, "active", at) : at,
  { as },
]);
const held = fc
  .tuple(fc.constantFrom("renew" as const, "release" as const), shard, isRight, wrongEpoch)
  .map(([op, at, right, wrong]): Intent => (oracle) => [op, QUEUE, at, holdOf(oracle, at, right, wrong)]);
const retire = fc.tuple(shard, isRight, wrongEpoch).map(([at, right, wrong]): Intent => (oracle) => {
  const drained = right ? shardIn(oracle, "draining", at) : at;
  return ["retire", QUEUE, drained, holdOf(oracle, drained, right, wrong)];
});
const enqueue = fc.tuple(name, document).map(([entry, value]): Intent => () => [
  "enqueue",
  QUEUE,
  entry,
  value,
]);
const write = fc
  .tuple(
    name,
    document,
    shard,
    fc.record({ place: isRight, epoch: isRight, plain: isRight, remove: isRight, wrong: wrongEpoch }),
  )
  .map(([entry, value, at, { place, epoch, plain, remove, wrong }]): Intent => (oracle) => {
    const found = place ? (oracle.entries().get(entry)?.shard ?? at) : at;
    const key = `${found}/${entry}`;
    const hold = holdOf(oracle, found, epoch, wrong);
    const options = typeof hold === "number" ? { epoch: hold } : hold;
    if (!remove) return plain ? ["delete", QUEUE, key, options] : ["delete", QUEUE, key];
    return plain ? ["put", QUEUE, key, value, options] : ["put", QUEUE, key, value];
  });
const move = fc
  .tuple(name, shard, shard, isRight, wrongEpoch)
  .map(([entry, at, to, right, wrong]): Intent => (oracle) => {
    const drained = shardIn(oracle, "draining", at);
    const [open] = oracle.within(drained).filter(({ open: isOpen }) => isOpen);
    const [from, moved] = right && open !== undefined ? [drained, open.name] : [at, entry];
    const target = right ? shardIn(oracle, "active", to) : to;
    return ["move", QUEUE, `${from}/${moved}`, target, holdOf(oracle, from, right, wrong)];
  });
const evict = fc.tuple(name, shard, isRight).map(([entry, at, right]): Intent => (oracle) => [
  "evict",
  QUEUE,
  `${right ? (oracle.entries().get(entry)?.shard ?? at) : at}/${entry}`,
]);
const other = fc.constant<Intent>(() => ["put", "pods", "a", 1]);

/** What a director does next: it claims the shard of an entry, or writes the entry with the epoch that it has. */
const direct = fc
  .tuple(fc.nat({ max: 20 }), document, who, fc.boolean())
  .map(([at, value, as, remove]): Intent => (oracle) => {
    const entries = [...oracle.entries().values()];
    const entry = entries[at % Math.max(1, entries.length)];
    if (entry === undefined) return ["enqueue", QUEUE, "a", value];
    if (oracle.holder(entry.shard) === undefined) return ["claim", QUEUE, entry.shard, { as }];
    const options = { epoch: oracle.epoch(entry.shard) };
    const key = `${entry.shard}/${entry.name}`;
    return remove && at > 15 ? ["delete", QUEUE, key, options] : ["put", QUEUE, key, value, options];
  });

/** What a drainer does next: it takes a shard, moves or finishes what is open in it, and retires it. */
const drainOn = fc
  .tuple(shard, fc.nat({ max: SHARDS - 2 }), fc.boolean())
  .map(([at, to, finish]): Intent => (oracle) => {
    const drained = shardIn(oracle, "draining", at);
    if (oracle.state(drained) !== "draining") {
      return ["drain", QUEUE, shardIn(oracle, "active", at), { as: "drainer" }];
    }
    const epoch = oracle.epoch(drained);
    const [open] = oracle.within(drained).filter(({ open: isOpen }) => isOpen);
    if (open === undefined) return ["retire", QUEUE, drained, epoch];
    const key = `${drained}/${open.name}`;
    return finish ? ["put", QUEUE, key, { state: "done" }, { epoch }] : ["move", QUEUE, key, to, epoch];
  });

const operation: fc.Arbitrary<Intent> = fc.oneof(
  { weight: 2, arbitrary: claim },
  { weight: 1, arbitrary: drain },
  { weight: 2, arbitrary: held },
  { weight: 1, arbitrary: retire },
  { weight: 8, arbitrary: enqueue },
  { weight: 3, arbitrary: write },
  { weight: 2, arbitrary: move },
  { weight: 1, arbitrary: evict },
  { weight: 1, arbitrary: other },
  { weight: 6, arbitrary: direct },
  { weight: 8, arbitrary: drainOn },
);

const policies = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      shards: fc.integer({ min: 1, max: SHARDS - 1 }),
      cap: fc.integer({ min: 1, max: 3 }),
      lease: fc.constantFrom(10, 20),
      terminal: fc.constantFrom(POLICY.terminal, POLICY.terminal, { state: "done" }),
    }),
  },
  { weight: 1, arbitrary: fc.constant(undefined) },
);
const configure = policies.map((policy): Intent => () => [
  "configure",
  policy === undefined ? {} : { queues: { [QUEUE]: policy } },
]);

/** A transaction to come, and the time that passes before it (ms). */
export interface IntendedTransaction {
  readonly intents: readonly Intent[];
  readonly wait: number;
}

export const intended: fc.Arbitrary<IntendedTransaction> = fc.record({
  intents: fc.oneof(
    { weight: 20, arbitrary: operation.map((one) => [one]) },
    { weight: 5, arbitrary: fc.array(operation, { minLength: 2, maxLength: 4 }) },
    { weight: 1, arbitrary: configure.map((one) => [one]) },
    { weight: 1, arbitrary: fc.tuple(operation, configure) },
  ),
  // Sums of these often are exactly the end of a lease.
  wait: fc.constantFrom(0, 0, 1, 5, 5, 10),
});
