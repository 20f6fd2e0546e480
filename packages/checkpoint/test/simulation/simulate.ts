import type { CheckpointerEvent } from "../../src/index.ts";
import type { Conditions } from "./conditions.ts";
import { measureExposure } from "./exposure.ts";
import { startFaults } from "./faults.ts";
import { beginLife } from "../../testing/simulation/node-life.ts";
import type { NodeLife } from "../../testing/simulation/node-life.ts";
import { summarize } from "./report.ts";
import type { Report } from "./report.ts";
import { startRestorer } from "./restorer.ts";
import type { Restorer } from "./restorer.ts";
import { seededRandom } from "../../testing/simulation/seeded-random.ts";
import { ARCHIVE_BYTES, simulatedLog } from "./simulated-index.ts";
import { transportOf } from "../../testing/simulation/simulated-network.ts";
import type { Network } from "../../testing/simulation/simulated-network.ts";
import { simulatedNode } from "./simulated-node.ts";
import { simulatedStore } from "../../testing/simulation/simulated-store.ts";
import type { RequestKind, StoreContents, Transport } from "../../testing/simulation/simulated-store.ts";
import { beforeSweep } from "./sweep-oracle.ts";
import type { SweepOracle } from "./sweep-oracle.ts";
import { virtualTime } from "../../testing/simulation/virtual-time.ts";
import { witness } from "./witness.ts";

const PIECE_BYTES = 128;
const TRANSACTIONS_PER_PERIOD = 1_000;

/**
 * Runs a cluster under `conditions` from its first start, in virtual time. The same conditions produce the same report.
 */
export async function simulate(conditions: Conditions): Promise<Report> {
  const { period, exclusive, storeTick, retention, storm, emptyFor = 0 } = conditions;
  const random = seededRandom(conditions.seed);
  const time = virtualTime();
  const log = simulatedLog(time, period / TRANSACTIONS_PER_PERIOD, emptyFor);
  const requests = new Map<RequestKind, number>();
  const firstWriteAt = time.now() + emptyFor;
  let untilFirst = Infinity;
  let looks = 0;
  let longestListing = 0;
  let storeUp = true;

  const storeAhead = random.between(-period, period);
  const contents: StoreContents = {
    files: new Map(),
    now: () => Math.floor((time.now() + storeAhead) / storeTick) * storeTick,
    exclusive: exclusive !== false,
    atomic: exclusive === true,
    writes: 0,
  };
  const direct = simulatedStore(contents, {
    request: async (_, work) => work(),
    transfer: async () => undefined,
  });

  const exposure = measureExposure(time, () => {
    if (!storeUp || !nodes.some(({ life }) => life()?.isFrozen() === false)) return false;
    return (log.isWriting() && log.txId() > 0) || log.txId() > (seen.listed()[0]?.parsed.txId ?? 0);
  });
  let restorer: Restorer | undefined;
  time.plan(emptyFor, () => {
    exposure.advance();
    return false;
  });
  const seen = witness({
    contents,
    time,
    period,
    isRestored: (name) => restorer?.countsOn(name) ?? false,
    onPublished: () => {
      untilFirst = Math.min(untilFirst, time.now() - firstWriteAt);
      exposure.published();
    },
  });

  const network: Network = {
    time,
    random: random.fork(),
    isStoreUp: () => storeUp,
    failing: storm.failing,
    timeout: Math.min(5_000, period / 50),
    upload: conditions.upload,
    pieces: ARCHIVE_BYTES / PIECE_BYTES,
    onStep: (life, kind, when) => {
      if (when === "before") requests.set(kind, (requests.get(kind) ?? 0) + 1);
      if (when === "after" && kind === "list") longestListing = Math.max(longestListing, contents.files.size);
      faults.onStep(life, when);
    },
  };
  const sweeps = new Map<NodeLife, Promise<SweepOracle>>();
  const nodes = Array.from({ length: conditions.nodes }, (_, at) =>
    simulatedNode({
      id: `node-${at + 1}`,
      time,
      log,
      random: random.fork(),
      clockError: period / 2,
      optionsOf: (life) => ({
        store: simulatedStore(contents, transportOf(life, network), seen.watch(life)),
        approxFrequency: period,
        checkpointDir: "nowhere",
        keepDirBetweenCheckpoints: true,
        keepDirOnClose: true,
        retentionPolicy: retention,
        checkpointOnClose: false,
        compression: "none",
      }),
      onEvent,
    }),
  );

  function onEvent(life: NodeLife, event: CheckpointerEvent): void {
    if (event.type === "begun") looks += 1;
    if (event.type === "taken") sweeps.set(life, beforeSweep(contents, seen, retention, direct));
    if (event.type === "swept" && event.failed.length === 0) {
      void sweeps.get(life)?.then((sweep) => sweep.check());
    }
    if (event.type === "swept" || event.type === "sweep-failed") sweeps.delete(life);
    if (event.type === "failed") faults.explain(event.error);
  }

  const faults = startFaults({
    conditions,
    time,
    random: random.fork(),
    nodes,
    log,
    seen,
    exposure,
    setStoreUp: (up) => {
      exposure.advance();
      storeUp = up;
    },
  });
  for (const node of nodes) node.start();
  if (storm.failing > 0) {
    const life = beginLife("joiner", time, 0);
    const transport: Transport = transportOf(life, { ...network, onStep: () => undefined });
    restorer = startRestorer(
      {
        life,
        contents,
        random: random.fork(),
        every: 2 * period,
        lasts: [period / 100, 2 * period],
        onMissing: (name) => seen.violate("a reserved checkpoint stays", name),
      },
      (watcher) => simulatedStore(contents, transport, watcher(seen.watch(life))),
    );
  }
  await time.run(time.now() + conditions.periods * period);
  return summarize({
    conditions,
    seen,
    exposure,
    nodes,
    looks,
    requests,
    longestListing,
    contents,
    untilFirst,
  });
}
