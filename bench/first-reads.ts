import { writeFile } from "node:fs/promises";
import { type Chart, drawChart, type Series } from "@cairn/checkpoint/testing";
import type { Workspace } from "./data/workspace.ts";
import { settle } from "./harness/command.ts";
import { percentiles } from "./harness/latencies.ts";
import { joinFrom, makeRemoteCheckpoint, remoteServer } from "./rows/attach.ts";

const SMALLEST = 50_000;
/** The factor from one number of transactions to the next. */
const STEP = 10;
/** The largest time in the picture, in seconds. */
const RANGE_S = [0.3, 100] as const;
const TICKS_S = [1, 10, 100];

/** Seconds, by whether the node attached to the checkpoint that it restored. */
interface FirstReads {
  readonly bytes: number;
  readonly attached: number;
  readonly restored: number;
}

/**
 * Measures when a node that joins from S3 over a link first answers, with and without attaching to its checkpoint, for
 * ten times as many transactions at each step up to `largest`. Prints a table, and draws a picture to `path`.
 */
export async function measureFirstReads(
  workspace: Workspace,
  { size: largest, rounds }: { readonly size: number; readonly rounds: number },
  path: string,
): Promise<void> {
  const server = await remoteServer(workspace);
  const counts = [largest];
  while ((counts[0] ?? 0) >= SMALLEST * STEP) counts.unshift(Math.round((counts[0] ?? 0) / STEP));
  process.stdout.write("transactions\tGB\tattached, s\tnot attached, s\n");
  const measured: FirstReads[] = [];
  for (const count of counts) {
    const checkpoint = await makeRemoteCheckpoint(workspace, server, count);
    const found: { attached: number[]; restored: number[] } = { attached: [], restored: [] };
    for (let round = 1; round <= rounds; round += 1) {
      for (const attach of [true, false]) {
        workspace.onProgress(`round ${round} of ${rounds}: ${attach ? "attached" : "not attached"}`);
        await settle();
        const { "first read, s": seconds = Number.NaN } = await joinFrom(workspace, checkpoint, { attach });
        found[attach ? "attached" : "restored"].push(seconds);
      }
    }
    const bytes = checkpoint.manifest.archive.bytes;
    const [attached, restored] = [percentiles(found.attached)(0.5), percentiles(found.restored)(0.5)];
    measured.push({ bytes, attached, restored });
    process.stdout.write(
      `${[count, ...[bytes / 1e9, attached, restored].map((value) => value.toPrecision(3))].join("\t")}\n`,
    );
    await workspace.dropLog(checkpoint.log);
    await server.empty(checkpoint.place);
  }
  await writeFile(path, drawChart(firstReadsChart(measured)));
}

function label(seconds: number): string {
  return `${seconds.toLocaleString("en-US", { maximumSignificantDigits: 2 })} s`;
}

function firstReadsChart(measured: readonly FirstReads[]): Chart {
  const series: Series[] = [
    { name: "attached", look: "first", values: measured.map(({ attached }) => attached), label, below: true },
    { name: "not attached", look: "second", values: measured.map(({ restored }) => restored), label },
  ];
  return {
    says: "The seconds from the start of a process to its first answered read, over the size of its checkpoint in S3, with and without attaching to it.",
    categories: measured.map(({ bytes }) => `${(bytes / 1e9).toPrecision(2)} GB`),
    axis: "checkpoint in S3, over 1 Gbit/s with 20 ms",
    panels: [
      {
        title: "first read after the start, s",
        scale: "log",
        range: RANGE_S,
        ticks: TICKS_S.map((at) => ({ at, label: `${at}` })),
        limits: [],
        series,
      },
    ],
  };
}
