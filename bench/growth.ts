import { mkdir, rm, writeFile } from "node:fs/promises";
import { type Chart, drawChart, type Panel } from "@cairn/checkpoint/testing";
import type { Policies } from "@cairn/node";
import { nodeConfig } from "./data/node-config.ts";
import { KEEP_ONE, updates } from "./data/workloads.ts";
import type { Workspace } from "./data/workspace.ts";
import { settle } from "./harness/command.ts";
import { joinAsProcess } from "./harness/node-process.ts";

/** The largest number of documents, which are overwritten again and again as the log grows. */
const MAX_KEYS = 1_000_000;
const SMALLEST = 100_000;

/** Durations in seconds, sizes in MB. */
interface Grown {
  readonly count: number;
  readonly replay: number;
  readonly checkpoint: number;
  readonly restore: number;
  readonly join: number;
  readonly restart: number;
  /** The size of the checkpoint. */
  readonly size: number;
  /** The peak of the memory during the replay that is not a mapped file. */
  readonly memory: number;
}

const FIGURES = ["replay", "checkpoint", "restore", "join", "restart", "size", "memory"] as const;
const HISTORIES: readonly (readonly [string, Policies | undefined])[] = [
  ["all history", undefined],
  ["bounded", { ...KEEP_ONE, outcomes: { keep: 2_000_000 } }],
];

/**
 * Measures how durations grow with the log, with ten times as many transactions at each step up to `largest`, of which
 * at most a million documents remain. Prints a table, and draws a picture to `path`.
 */
export async function measureGrowth(workspace: Workspace, largest: number, path: string): Promise<void> {
  const counts: number[] = [];
  for (let count = SMALLEST; count < largest; count *= 10) counts.push(count);
  counts.push(largest);
  process.stdout.write(`${["history", "transactions", ...FIGURES].join("\t")}\n`);
  const lines = new Map<string, Grown[]>(HISTORIES.map(([name]) => [name, []]));
  for (const count of counts) {
    for (const [name, policies] of HISTORIES) {
      const grown = await measureLog(workspace, count, policies);
      lines.get(name)?.push(grown);
      const figures = FIGURES.map((figure) => grown[figure].toPrecision(3));
      process.stdout.write(`${[name, count, ...figures].join("\t")}\n`);
    }
  }
  await writeFile(path, drawChart(growthChart(counts, lines)));
}

async function measureLog(
  workspace: Workspace,
  count: number,
  policies: Policies | undefined,
): Promise<Grown> {
  const keys = Math.min(count, MAX_KEYS);
  const stream = `growth-${count}${policies === undefined ? "" : "-bounded"}`;
  const content = { stream, ...updates({ count, keys }), ...(policies === undefined ? {} : { policies }) };
  const log = await workspace.fillLog(`the log of ${count} transactions`, content);
  const [dir, joined, restored, checkpoints] = ["replayed", "joined", "restored", "store"].map((name) =>
    workspace.fresh(name),
  ) as [string, string, string, string];
  const replayed = await workspace.run("replay workload", { dir, log, count });
  const saved = await workspace.run("checkpoint", { config: nodeConfig({ dir, log, checkpoints }) });
  const unpacked = await workspace.run("restore", { checkpoints, dir: restored });
  await rm(restored, { recursive: true });
  await mkdir(joined);
  const start = async (): Promise<number> => {
    await settle();
    const { s = Number.NaN } = await joinAsProcess({ dir: joined, log, checkpoints, documents: keys });
    return s;
  };
  const join = await start();
  const restart = await start();
  for (const folder of [dir, joined, checkpoints]) await rm(folder, { recursive: true });
  await workspace.dropLog(log);
  return {
    count,
    replay: count / (replayed["tx/s"] ?? 0),
    checkpoint: saved["s"] ?? Number.NaN,
    restore: unpacked["s"] ?? Number.NaN,
    join,
    restart,
    size: (saved["s"] ?? 0) * (saved["MB/s"] ?? 0),
    memory: replayed["anonymous MB"] ?? Number.NaN,
  };
}

function growthChart(counts: readonly number[], lines: ReadonlyMap<string, readonly Grown[]>): Chart {
  const panels = FIGURES.map((figure) => growthPanel(figure, lines));
  return {
    says: `How ${FIGURES.join(", ")} grow with the number of transactions, with all history, and with one older version of each document and at most 2,000,000 outcomes.`,
    categories: counts.map((count) => `${count / 1_000_000} million`),
    axis: "transactions",
    panels,
    columns: 4,
  };
}

function growthPanel(figure: (typeof FIGURES)[number], lines: ReadonlyMap<string, readonly Grown[]>): Panel {
  // The labels of the lower line are below it, so that they do not overlap.
  const last = [...lines.values()].map((grown) => grown.at(-1)?.[figure] ?? 0);
  const lowest = last.indexOf(Math.min(...last));
  const values = [...lines.values()].flatMap((grown) => grown.map((one) => one[figure]));
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const unit = figure === "size" || figure === "memory" ? "MB" : "s";
  const first = 10 ** Math.floor(Math.log10(low));
  const top = 10 ** Math.ceil(Math.log10(high));
  const ticks: { at: number; label: string }[] = [];
  for (let at = first; at <= top * 1.01; at *= 10) ticks.push({ at, label: `${Number(at.toPrecision(1))}` });
  return {
    title: `${figure}, ${unit}`,
    scale: "log",
    range: [first, top],
    ticks,
    limits: [],
    series: [...lines].map(([name, grown], at) => ({
      name,
      look: at === 0 ? "first" : "second",
      values: grown.map((one) => one[figure]),
      label: (value) => value.toLocaleString("en-US", { maximumSignificantDigits: 2 }),
      below: at === lowest,
    })),
  };
}
