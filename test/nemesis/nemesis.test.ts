// @module-tag nats
import { setTimeout as delay } from "node:timers/promises";
import type { LogMessage } from "@cairn/node";
import { commitSeed } from "@cairn/kv/testing";
import { LogFold } from "@cairn/engine/testing";
import { describe, expect, it } from "vitest";
import { seededPicks } from "@cairn/test-support/seeded-random";
import { TortureWatcher } from "@cairn/test-support/torture-watcher";
import { transactionsBetween, watchedHistory } from "@cairn/test-support/watch-oracle";
import { violationsOf } from "./check-observations.ts";
import { NemesisClient } from "./clients.ts";
import { LogCollector } from "./log-collector.ts";
import { LogHistory } from "./log-history.ts";
import { NemesisCluster, NODES } from "./nemesis-cluster.ts";
import { BUCKET, FIELD, type Observation } from "./observation.ts";
import { injectFaults } from "./inject-faults.ts";

const SEED = Number(process.env["CAIRN_SOAK_SEED"] ?? "1");
/** The seed that runs with every commit. */
const SAMPLE = commitSeed();
/** The time (ms) during which faults happen: 8 seconds in the campaign of the suite. */
const DURATION_MS = Number(process.env["CAIRN_SOAK_MINUTES"] ?? 0) * 60_000 || 8_000;
const SAMPLE_MS = 1_000;
const IS_SOAK = process.env["CAIRN_SOAK_MINUTES"] !== undefined;
const CLIENTS = 8;
const SETTLED_WITHIN_MS = 120_000;
const MAX_SHOWN = 20;
/**
 * The permitted ends of a node: it may halt if the log was trimmed while the checkpoints were unavailable, and exit if
 * the disk was full when it started.
 */
const ALLOWED_ENDS = new Set(["halted: LOG_TRIMMED", "ended: DISK_FULL"]);

describe("a cluster in which all kinds of faults happen concurrently", () => {
  it(
    `loses nothing, applies nothing twice and returns no wrong response (seed ${SAMPLE})`,
    { tags: "rest/slow" },
    async () => {
      await expectNoViolation(SAMPLE, SAMPLE_MS);
    },
  );

  it(
    `loses nothing, applies nothing twice and returns no wrong response, for longer (seed ${SEED})`,
    { tags: "rest/campaign", timeout: DURATION_MS + 600_000 },
    async () => {
      await expectNoViolation(SEED, DURATION_MS);
    },
  );
});

async function expectNoViolation(seed: number, durationMs: number): Promise<void> {
  const cluster = await NemesisCluster.open();
  try {
    const { lines, violations } = await run(cluster, seed, durationMs);
    if (IS_SOAK || violations.length > 0)
      process.stdout.write(`nemesis, seed ${seed}\n${lines.join("\n")}\n`);
    expect(violations.slice(0, MAX_SHOWN)).toEqual([]);
  } finally {
    await cluster.close();
  }
}

async function run(
  cluster: NemesisCluster,
  seed: number,
  durationMs: number,
): Promise<{ lines: string[]; violations: string[] }> {
  const picks = seededPicks(seed);
  const urls = (): readonly string[] => cluster.urls;
  const collector = new LogCollector(cluster.nats.url);
  await configure(cluster);
  const known = { last: 0 };
  const clients = Array.from({ length: CLIENTS }, (_, id) => new NemesisClient(id, seed, urls, known));
  const watchers = ["0", undefined, "0"].map((from, n) => {
    return new TortureWatcher({ from, random: seededPicks(seed * 77 + n).next, urls });
  });
  const faults = await injectFaults(cluster, picks, AbortSignal.timeout(durationMs));
  await Promise.all(clients.map((client) => client.finish()));
  for (const watcher of watchers) watcher.calm();
  await waitUntilAllReady(cluster);
  // The digests are read before the observations are checked, because the check takes minutes after an hour's run, and
  // connections would time out.
  const digests = await Promise.all(
    Array.from({ length: NODES }, (_, number) => cluster.node(number).digest()),
  );

  const messages = await collector.finish();
  const log = new LogHistory();
  for (const message of messages) log.apply(message);
  const seen = clients.flatMap((client) => client.seen);
  const violations = violationsOf(seen, log);
  violations.push(...wrongDigests(digests, messages));
  violations.push(...(await wrongWatches(watchers, messages, log)));
  const refused = sum(clients.map((client) => client.refused));
  // An internal error is never an acceptable reason for a refusal.
  for (const [why, times] of refused) if (/^500|INTERNAL/.test(why)) violations.push(`${times} times ${why}`);
  for (const [end, times] of cluster.ends)
    if (!ALLOWED_ENDS.has(end)) violations.push(`${times} times ${end}`);
  return { lines: figures(seen, log, [faults, cluster.ends, refused], violations), violations };
}

/** Defines the indexed field, in the first transaction after the birth record. */
async function configure(cluster: NemesisCluster): Promise<void> {
  const body = JSON.stringify({ ops: [["configure", { indexes: { [BUCKET]: [FIELD] } }]] });
  const answer = await fetch(`${cluster.urls[0]}/api/v1/tx?await=true`, { method: "POST", body });
  if (!answer.ok) throw new Error(await answer.text());
}

/** Waits until all nodes are ready, after all faults have been undone. */
async function waitUntilAllReady(cluster: NemesisCluster): Promise<void> {
  const deadline = Date.now() + SETTLED_WITHIN_MS;
  for (;;) {
    await cluster.startEnded();
    const all = await Promise.all(
      Array.from({ length: NODES }, (_, number) => cluster.node(number).status()),
    );
    if (all.every(({ phase, index }) => phase === "ready" && index.lag === 0)) return;
    if (Date.now() > deadline)
      throw new Error(
        `not ready after all faults have been undone: ${JSON.stringify(all.map(({ phase, failure }) => ({ phase, failure })))}`,
      );
    await delay(100);
  }
}

function wrongDigests(
  digests: readonly { readonly txId: number; readonly digest: string }[],
  messages: readonly LogMessage[],
): string[] {
  const fold = new LogFold();
  for (const message of messages) fold.apply(message);
  const wanted = `${fold.txId} ${fold.digest()}`;
  return digests.flatMap(({ txId, digest }, number) =>
    `${txId} ${digest}` === wanted ? [] : [`node ${number} is at ${txId} ${digest}, not ${wanted}`],
  );
}

async function wrongWatches(
  watchers: readonly TortureWatcher[],
  messages: readonly LogMessage[],
  log: LogHistory,
): Promise<string[]> {
  const history = await watchedHistory(messages, ({ position }) => {
    const outcome = log.transactions[position - 1]?.outcome;
    return outcome === "committed" || outcome === "aborted";
  });
  await expect
    .poll(() => watchers.map(({ position }) => position), { timeout: SETTLED_WITHIN_MS })
    .toEqual(watchers.map(() => history.end));
  await Promise.all(watchers.map((watcher) => watcher.finish()));
  return watchers.flatMap(({ segments }, number) =>
    segments.flatMap(({ begin, position, seen, ended }) => {
      if (ended !== undefined) return [`watcher ${number} could not resume: ${JSON.stringify(ended)}`];
      const wanted = transactionsBetween([history], { begin, position }, {});
      const at = wanted.findIndex((one, n) => JSON.stringify(one) !== JSON.stringify(seen[n]));
      if (at < 0 && seen.length === wanted.length) return [];
      return [`watcher ${number} received ${JSON.stringify(seen[at])}, not ${JSON.stringify(wanted[at])}`];
    }),
  );
}

function figures(
  seen: readonly Observation[],
  log: LogHistory,
  counts: readonly ReadonlyMap<string, number>[],
  violations: readonly string[],
): string[] {
  const writes = seen.flatMap((one) => (one.kind === "write" ? [one.answer.kind] : []));
  const outcomes = new Map<string, number>();
  for (const { outcome } of log.transactions) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  return [
    line(writes.filter((kind) => kind !== "unknown").length, "writes acknowledged"),
    line(writes.filter((kind) => kind === "unknown").length, "writes of unknown outcome"),
    line(seen.length - writes.length, "reads answered"),
    ...[...outcomes].map(([outcome, times]) => line(times, `messages in the log: ${outcome}`)),
    ...counts.flatMap((count) => [...count].toSorted().map(([what, times]) => line(times, what))),
    line(violations.length, "violations"),
  ];
}

function sum(all: readonly ReadonlyMap<string, number>[]): ReadonlyMap<string, number> {
  const total = new Map<string, number>();
  for (const one of all) for (const [what, times] of one) total.set(what, (total.get(what) ?? 0) + times);
  return total;
}

function line(times: number, what: string): string {
  return `${String(times).padStart(7)} ${what}`;
}
