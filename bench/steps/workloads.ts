import { levelProvider } from "@cairn/kv";
import { type CairnNode, startNode } from "@cairn/node";
import { ClassicLevel } from "classic-level";
import { type FilledLog, nodeConfig } from "../data/node-config.ts";
import type { Figures } from "../harness/figures.ts";
import { AnonymousMemory } from "../harness/peak-memory.ts";
import { drainMessages } from "./drain.ts";
import { readTrace, type TracedRequest, tracing } from "./store-trace.ts";

/** Cairn's options (docs/configuration.md), which the node uses too. */
const LEVEL_OPTIONS = { writeBufferSize: 24 << 20, cacheSize: 16 << 20, compression: true };

interface WorkloadInput {
  readonly dir: string;
  readonly log: FilledLog;
  readonly count: number;
}

/** Builds an index from a log, and records in `trace` what its store was asked to do. */
export async function traceWorkload({
  trace,
  ...input
}: WorkloadInput & { readonly trace: string }): Promise<Figures> {
  const recorded = tracing(levelProvider(), trace);
  const node = await startOn(input, recorded.provider);
  await node.ready;
  const requests = recorded.requests();
  // Requests of the stop are recorded too, and left out when the trace is replayed.
  await node.close();
  recorded.end();
  return { requests };
}

/** Builds an index from a log, and measures until the node is ready. */
export async function replayWorkload(input: WorkloadInput): Promise<Figures> {
  const memory = AnonymousMemory.begin();
  const processor = process.cpuUsage();
  const begin = performance.now();
  const node = await startOn(input);
  try {
    await node.ready;
    return figures(input.count, begin, processor, memory);
  } finally {
    await node.close();
  }
}

/**
 * Drains a log, and meanwhile makes the reads and writes the rows of a trace with classic-level alone. This is the limit
 * for an indexer that writes these rows.
 */
export async function writeTrace({
  dir,
  log,
  count,
  trace,
  requests,
}: WorkloadInput & { readonly trace: string; readonly requests: number }): Promise<Figures> {
  const memory = AnonymousMemory.begin();
  const processor = process.cpuUsage();
  const begin = performance.now();
  const level = new ClassicLevel<Uint8Array, Uint8Array>(dir, {
    ...LEVEL_OPTIONS,
    keyEncoding: "view",
    valueEncoding: "view",
  });
  await level.open();
  const drained = new Drained();
  const draining = drainMessages(log, (_, received, total) => {
    if (received % 500 === 0 || received === total) drained.advance(received / total);
  });
  let done = 0;
  for (const request of readTrace(trace)) {
    if (done >= requests) break;
    done += 1;
    await drained.reaches(done / requests);
    await make(request, level);
  }
  await draining;
  const measured = figures(count, begin, processor, memory);
  await level.close();
  return measured;
}

async function startOn({ dir, log }: WorkloadInput, provider?: object): Promise<CairnNode> {
  const config = nodeConfig({ dir, log }) as { "cairn/index-store": { "kv-store": object } };
  if (provider !== undefined) {
    const { "cairn/module": _, ...parameters } = config["cairn/index-store"]["kv-store"] as Record<
      string,
      unknown
    >;
    config["cairn/index-store"]["kv-store"] = { ...parameters, "cairn/module": () => provider };
  }
  return await startNode(config, { env: {} });
}

function figures(count: number, begin: number, processor: NodeJS.CpuUsage, memory: AnonymousMemory): Figures {
  const seconds = (performance.now() - begin) / 1_000;
  const { user, system } = process.cpuUsage(processor);
  return {
    "tx/s": count / seconds,
    "cpu us each": (user + system) / count,
    "anonymous MB": memory.end(),
  };
}

async function make(request: TracedRequest, level: ClassicLevel<Uint8Array, Uint8Array>): Promise<void> {
  if (request.kind === "get") {
    await level.getMany([...request.keys]);
  } else if (request.kind === "range") {
    const iterator = level.iterator(request.range);
    for (let left = request.read; left > 0;) {
      const rows = await iterator.nextv(Math.min(left, 1_000));
      if (rows.length === 0) break;
      left -= rows.length;
    }
    await iterator.close();
  } else {
    const batch = level.batch();
    for (const operation of request.operations) {
      if (operation.type === "put") batch.put(operation.key, operation.value);
      else batch.del(operation.key);
    }
    await batch.write();
  }
}

/** How far a log has been drained, as a share of it. */
class Drained {
  #share = 0;
  #wanted = 0;
  #onReached: (() => void) | undefined;

  advance(share: number): void {
    this.#share = share;
    if (share >= this.#wanted) this.#onReached?.();
  }

  async reaches(share: number): Promise<void> {
    if (this.#share >= share) return;
    await new Promise<void>((resolve) => {
      this.#wanted = share;
      this.#onReached = resolve;
    });
  }
}
