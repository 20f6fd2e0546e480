import type { ClusterStatus, ListedCheckpoint, NodeStatus } from "@cairn/client";
import { useEffect, useState } from "preact/hooks";
import type { Polled } from "../data/polled.ts";
import { Panel } from "../parts/panel.tsx";
import { amountOfBytes, counted, numberOf, span, UNKNOWN, words } from "../text/amounts.ts";
import { instant, localTime } from "../text/times.ts";

/** The width in the units of the plot, on small screens and on others, so that its letters can be read on both. */
const NARROW = 380;
const WIDE = 900;
const HEIGHT = 150;
const FLOOR = 120;
const CEILING = 16;
/** The number of periods that are shown, and the part of the width that shows the time after now. */
const PERIODS = 8;
const FUTURE = 0.14;
const MAX_SHOWN = 200;
const DEFAULT_RANGE_MS = 3_600_000;

interface TimelineProps {
  readonly checkpoints: Polled<readonly ListedCheckpoint[]>;
  readonly cluster: Polled<ClusterStatus>;
  readonly status: Polled<NodeStatus>;
}

/** The checkpoints of the last periods as a plot: when each was taken, its size, and whether it was verified. */
export function CheckpointTimeline({ checkpoints, cluster, status }: TimelineProps) {
  const periodMs = status.value?.checkpoints?.approxFrequencyMs;
  return (
    <Panel
      id="timeline"
      title="Checkpoints"
      source={checkpoints}
      aside={typeof periodMs === "number" ? `about one every ${span(periodMs)}` : undefined}
    >
      {() => {
        const { value = [] } = checkpoints;
        const looks = cluster.value?.nodes.map((node) => node.status.checkpoints.nextCheckAt) ?? [];
        const next = earliest([...looks, status.value?.checkpoints.nextCheckAt]);
        return (
          <>
            <Plot checkpoints={value.slice(0, MAX_SHOWN)} periodMs={periodMs} next={next} />
            <p class="legend" aria-hidden="true">
              <span class="key verified">verified</span> <span class="key saved">saved</span>{" "}
              <span class="key damaged">damaged</span> <span class="key next">next look</span>
            </p>
            <p>
              {newest(value)} The next look at the store{" "}
              {next === undefined ? "is unknown" : `is at ${localTime(next)}`}.
            </p>
          </>
        );
      }}
    </Panel>
  );
}

function earliest(times: readonly unknown[]): number | undefined {
  const known = times.map(instant).filter((at) => at !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}

function newest([first]: readonly ListedCheckpoint[]): string {
  if (first === undefined) return "The store contains no checkpoint.";
  const at = instant(first.takenAt);
  const age = at === undefined ? UNKNOWN : span(Math.max(0, Date.now() - at));
  return `The newest is ${age} old: ${words(first.node)} saved ${amountOfBytes(first.bytes)}.`;
}

interface PlotProps {
  readonly checkpoints: readonly ListedCheckpoint[];
  readonly periodMs: number | null | undefined;
  readonly next: number | undefined;
}

function Plot({ checkpoints, periodMs, next }: PlotProps) {
  const width = useWidth();
  const now = Date.now();
  const oldest = earliest(checkpoints.map(({ takenAt }) => takenAt)) ?? now - DEFAULT_RANGE_MS;
  const period = typeof periodMs === "number" && periodMs > 0 ? periodMs : undefined;
  // A cluster that is younger than these periods is shown from its first checkpoint.
  const lifetime = Math.max(60_000, (now - oldest) * 1.05);
  const range = period === undefined ? lifetime : Math.min(period * PERIODS, lifetime);
  const x = (at: number): number => (1 - FUTURE) * width * (1 - (now - at) / range);
  const largest = Math.max(1, ...checkpoints.map(({ bytes }) => numberOf(bytes)));
  const shown = checkpoints.filter(({ takenAt }) => (instant(takenAt) ?? 0) >= now - range);
  const damaged = shown.filter((checkpoint) => checkpoint.damaged === true).length;
  const verified = shown.filter(({ verifiedAt }) => typeof verifiedAt === "string").length;
  const label = `${counted(shown.length, "checkpoint")} within the last ${span(range)}, ${verified} verified and ${damaged} damaged. The table of the store lists each.`;
  const end = next === undefined ? undefined : Math.min(x(next), width - 6);
  return (
    <svg class="plot" viewBox={`0 0 ${width} ${HEIGHT}`} role="img" aria-label={label}>
      {period === undefined
        ? null
        : Array.from({ length: PERIODS / 2 }, (_, index) => (
            <rect
              key={index}
              class="band"
              x={x(now - (2 * index + 1) * period)}
              width={x(now) - x(now - period)}
              y={CEILING - 8}
              height={FLOOR - CEILING + 8}
            />
          ))}
      <line class="axis" x1="0" x2={width} y1={FLOOR} y2={FLOOR} />
      <line class="now" x1={x(now)} x2={x(now)} y1={CEILING - 8} y2={FLOOR + 6} />
      <text x={x(now)} y={HEIGHT - 8} text-anchor="middle">
        now
      </text>
      {[1, PERIODS / 2].map((share) => (
        <text key={share} x={share === 1 ? 0 : x(now - range / 2)} y={HEIGHT - 8}>
          {`${span(range / (share === 1 ? 1 : 2))} ago`}
        </text>
      ))}
      {shown.map((checkpoint) => (
        <Stem
          key={checkpoint.name}
          checkpoint={checkpoint}
          at={x(instant(checkpoint.takenAt) ?? 0)}
          largest={largest}
        />
      ))}
      {end === undefined ? null : (
        <g class="next">
          <line x1={end} x2={end} y1={CEILING} y2={FLOOR} />
          <circle cx={end} cy={CEILING} r="4" />
        </g>
      )}
    </svg>
  );
}

function useWidth(): number {
  const [small] = useState(() => matchMedia("(max-width: 640px)"));
  const [isSmall, setIsSmall] = useState(small.matches);
  useEffect(() => {
    const changed = (): void => setIsSmall(small.matches);
    small.addEventListener("change", changed);
    return () => small.removeEventListener("change", changed);
  }, [small]);
  return isSmall ? NARROW : WIDE;
}

function Stem({
  checkpoint,
  at,
  largest,
}: {
  readonly checkpoint: ListedCheckpoint;
  readonly at: number;
  readonly largest: number;
}) {
  const { name, node, bytes, damaged, verifiedAt, durationMs } = checkpoint;
  const y = FLOOR - (numberOf(bytes) / largest) * (FLOOR - CEILING - 8);
  const kind = damaged === true ? "damaged" : typeof verifiedAt === "string" ? "verified" : "saved";
  return (
    <g class={`stem ${kind}`}>
      <title>{`${words(name)}: ${amountOfBytes(bytes)} by ${words(node)}, in ${span(durationMs)}, ${kind}`}</title>
      <line x1={at} x2={at} y1={FLOOR} y2={y} />
      {kind === "damaged" ? (
        <path d={`M${at - 5} ${y - 5}l10 10m0-10l-10 10`} />
      ) : (
        <circle cx={at} cy={y} r="5" />
      )}
    </g>
  );
}
