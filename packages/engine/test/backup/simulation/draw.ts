import { type Chart, drawChart, type Panel, type Series } from "@cairn/checkpoint/testing";
import { CALM } from "./conditions.ts";
import type { BackupReport } from "./simulate-backup.ts";

/** Looks come 0.9 to 1.1 periods after the newest segment (docs/log-backup.md). */
const LATEST_LOOK = 1.1;

/** Draws how often clusters of each size write segments, and how long a transaction waits until it is backed up. Returns SVG. */
export function drawBackupSizes(reports: readonly BackupReport[]): string {
  const sizes = [...new Set(reports.map(({ conditions }) => conditions.nodes))].toSorted((a, b) => a - b);
  type Value = (report: BackupReport) => number;
  const line = (name: string, isCalm: boolean, of: Value, below: boolean): Series => ({
    name,
    look: isCalm ? "first" : "second",
    below,
    label: (value) => (value < 10 ? value.toFixed(2) : value.toFixed(0)),
    values: sizes.map((size) => {
      const report = reports.find(
        ({ conditions }) => conditions.nodes === size && (conditions.storm === CALM) === isCalm,
      );
      return report === undefined ? undefined : of(report);
    }),
  });
  const lines = (of: Value, lower: "calm" | "stormy"): Series[] => [
    line("no faults", true, of, lower === "calm"),
    line("crashes, freezes, outages", false, of, lower === "stormy"),
  ];
  const segments: Panel = {
    title: "Segments a period, by the whole cluster",
    scale: "linear",
    range: [0, 2],
    ticks: [0, 0.5, 1, 1.5, 2].map((at) => ({ at, label: String(at) })),
    limits: [],
    series: lines(({ writtenPerPeriod }) => writtenPerPeriod, "stormy"),
  };
  const waiting: Panel = {
    title: "Longest until backed up, in periods",
    scale: "log",
    range: [0.5, 150],
    ticks: [1, 10, 100].map((at) => ({ at, label: String(at) })),
    limits: [{ at: LATEST_LOOK, label: "1.1, without faults" }],
    series: lines(({ longest }) => longest, "calm"),
  };
  const chart: Chart = {
    says: "Simulated clusters of 1 to 1,000 nodes: about one segment a period, backed up within 1.1 periods unless nodes are down.",
    categories: sizes.map((size) => size.toLocaleString("en")),
    axis: "nodes",
    panels: [segments, waiting],
  };
  return drawChart(chart);
}
