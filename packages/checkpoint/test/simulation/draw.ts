// Draws docs/pictures from the numbers of a run: node packages/checkpoint/dist/test/simulation/draw.js FILE.json docs/pictures
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Report } from "./report.ts";
import { type Chart, drawChart, type Panel, type Series } from "../../testing/simulation/svg-chart.ts";

/** From bench/README.md: the transactions that a node replays per second, and the size of a million records with their history. */
const REPLAYED_A_SECOND = 120_000;
const INDEX_BYTES = 353e6;
/** The number of writes per second in the example. */
const WRITES_A_SECOND = 1_000;
const LATEST_LOOK = 1.1;

const FREQUENCIES = [
  ["PT5M", 300],
  ["PT15M", 900],
  ["PT1H", 3_600],
  ["PT6H", 21_600],
  ["P1D", 86_400],
] as const;

const [, , numbers, folder] = process.argv;
if (numbers === undefined || folder === undefined) {
  process.stderr.write("Give the JSON file of pnpm simulate, and the folder for the pictures.\n");
  process.exitCode = 2;
} else {
  const reports = JSON.parse(await readFile(numbers, "utf8")) as Report[];
  await writeFile(join(folder, "cluster-sizes.svg"), drawChart(clusterSizes(reports)));
  const five = reports.find(({ conditions }) => conditions.nodes === 5)?.uploadsPerPeriod ?? 1;
  await writeFile(join(folder, "frequency.svg"), drawChart(frequency(five)));
}

function clusterSizes(reports: readonly Report[]): Chart {
  const sizes = [...new Set(reports.map(({ conditions }) => conditions.nodes))].toSorted((a, b) => a - b);
  const line = (
    name: string,
    look: Series["look"],
    stormy: boolean,
    of: (report: Report) => number,
    below = false,
  ): Series => ({
    name,
    look,
    below,
    ...(look === "third" ? {} : { label: (value: number) => value.toFixed(2) }),
    values: sizes.map((size) => {
      const is = (one: Report): boolean =>
        one.conditions.nodes === size && one.conditions.storm.atStep > 0 === stormy;
      const report = reports.find(is);
      return report === undefined || of(report) === 0 ? undefined : of(report);
    }),
  });
  const uploads: Panel = {
    title: "Uploads a period, by the whole cluster",
    scale: "linear",
    range: [0.9, 1.25],
    ticks: [0.9, 1, 1.1, 1.2].map(tick),
    limits: [],
    series: [
      line("all goes well", "first", false, (report) => report.uploadsPerPeriod, true),
      line("crashes, freezes, outages", "second", true, (report) => report.uploadsPerPeriod),
    ],
  };
  const gaps: Panel = {
    title: "Longest time without a checkpoint, in periods",
    scale: "linear",
    range: [0.5, 2.2],
    ticks: [0.5, 1, 1.5, 2].map(tick),
    limits: [
      { at: 1.5, label: "limit" },
      { at: 2, label: "limit when its saver was lost" },
    ],
    series: [
      line("all goes well", "first", false, (report) => report.longestGap.plain, true),
      line("faults", "second", true, (report) => report.longestGap.plain),
      line("… a lost saver", "third", true, (report) => report.longestGap.interrupted),
    ],
  };
  return {
    says: "Simulated clusters of 1 to 1,000 nodes: about one upload per period, and no gap longer than one and a half periods.",
    categories: sizes.map((size) => size.toLocaleString("en")),
    axis: "nodes",
    panels: [uploads, gaps],
  };
}

function frequency(uploadsPerPeriod: number): Chart {
  const replay = FREQUENCIES.map(([, s]) => (s * LATEST_LOOK * WRITES_A_SECOND) / REPLAYED_A_SECOND);
  const uploaded = FREQUENCIES.map(([, s]) => (INDEX_BYTES * uploadsPerPeriod * 86_400) / s / 1e9);
  return {
    says: "The shorter approx-frequency, the less a joining node replays and the more is uploaded.",
    categories: FREQUENCIES.map(([name]) => name),
    axis: "approx-frequency",
    panels: [
      {
        title: "A joining node replays at most",
        scale: "log",
        range: [1, 2_000],
        ticks: [
          { at: 1, label: "1 s" },
          { at: 10, label: "10 s" },
          { at: 60, label: "1 min" },
          { at: 600, label: "10 min" },
        ],
        limits: [],
        series: [{ name: "replay", look: "first", values: replay, label: seconds, aside: -14 }],
      },
      {
        title: "The cluster uploads a day",
        scale: "log",
        range: [0.1, 400],
        ticks: [
          { at: 0.1, label: "0.1 GB" },
          { at: 1, label: "1 GB" },
          { at: 10, label: "10 GB" },
          { at: 100, label: "100 GB" },
        ],
        limits: [],
        series: [{ name: "uploaded", look: "second", values: uploaded, label: gigabytes, aside: 14 }],
      },
    ],
  };
}

function tick(at: number): { at: number; label: string } {
  return { at, label: String(at) };
}

function gigabytes(gb: number): string {
  return `${gb < 10 ? gb.toPrecision(2) : Math.round(gb)} GB`;
}

function seconds(s: number): string {
  return s < 60 ? `${s.toPrecision(2)} s` : `${(s / 60).toPrecision(2)} min`;
}
