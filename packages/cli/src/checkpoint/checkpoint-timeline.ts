import type { ListedCheckpoint } from "@cairn/client";
import { formatDuration } from "@cairn/text";
import { printable } from "../terminal/terminal.ts";

/** The number of periods that the bar shows, and the most characters for each of them. */
const PERIODS = 12;
const CELLS_PER_PERIOD = 6;
/** The longest time between two checkpoints when nothing fails and there are transactions to save, in periods. */
const LONGEST_GAP = 1.1;

const SIGNS = {
  unicode: { covered: "─", gap: "░", damaged: "✗" },
  plain: { covered: "-", gap: ".", damaged: "!" },
} as const;
const LETTERS = "abcdefghijklmnopqrstuvwxyz";
/** The sign of nodes for which no letter is left. */
const OTHERS = "*";

export interface TimelineOptions {
  readonly periodMs: number;
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly width: number;
  readonly unicode: boolean;
}

/** Returns whether a terminal with these variables shows characters other than ASCII. */
export function showsUnicode(env: Readonly<Record<string, string | undefined>>): boolean {
  const locale = [env["LC_ALL"], env["LC_CTYPE"], env["LANG"]].find(
    (value) => value !== undefined && value !== "",
  );
  return /utf-?8/i.test(locale ?? "");
}

/**
 * Formats the last periods as a bar and a legend: who saved checkpoints when, which are verified or damaged, and when
 * there was none for longer than nodes take between two. `found` are checkpoints of one log.
 */
export function formatTimeline(found: readonly ListedCheckpoint[], options: TimelineOptions): string {
  const { periodMs, now, width, unicode } = options;
  const signs = unicode ? SIGNS.unicode : SIGNS.plain;
  const perPeriod = Math.max(1, Math.min(CELLS_PER_PERIOD, Math.floor(width / PERIODS)));
  const cells = PERIODS * perPeriod;
  const cellMs = periodMs / perPeriod;
  const from = now - cells * cellMs;
  const byTime = found
    .map((one) => ({ one, at: Math.min(now - 1, Date.parse(one.takenAt)) }))
    .toSorted((a, b) => a.at - b.at);
  const shown = byTime.filter(({ at }) => at >= from);
  const letters = new Map(
    [...new Set(shown.map(({ one }) => one.node))]
      .toSorted()
      .map((node, at) => [node, LETTERS[at] ?? OTHERS]),
  );
  const bar = Array.from({ length: cells }, (_, cell) => {
    const [start, end] = [from + cell * cellMs, from + (cell + 1) * cellMs];
    const here = shown.filter(({ at }) => at >= start && at < end).map(({ one }) => one);
    const last = here.find(({ damaged }) => damaged === true) ?? here.at(-1);
    if (last !== undefined) return signOf(last, letters, signs.damaged);
    const before = byTime.findLast(({ at }) => at < start);
    // Older checkpoints may have been removed.
    if (before === undefined) return " ";
    return end - before.at > LONGEST_GAP * periodMs + cellMs ? signs.gap : signs.covered;
  }).join("");
  const meanings = [
    ...[...letters].map(([node, letter]) => `${letter} ${printable(node)}`),
    ...(shown.some(({ one }) => one.verifiedAt !== null) ? ["capital: verified"] : []),
    ...(bar.includes(signs.damaged) ? [`${signs.damaged} damaged`] : []),
    ...(bar.includes(signs.gap) ? [`${signs.gap} none for more than ${LONGEST_GAP} periods`] : []),
  ];
  const span = `The last ${formatDuration(PERIODS * periodMs)}, ${perPeriod} for each period of ${formatDuration(periodMs)}`;
  return `${bar}\n${[span, ...meanings].join("; ")}`;
}

function signOf(
  { node, damaged, verifiedAt }: ListedCheckpoint,
  letters: ReadonlyMap<string, string>,
  sign: string,
): string {
  if (damaged === true) return sign;
  const letter = letters.get(node) ?? OTHERS;
  return verifiedAt === null ? letter : letter.toUpperCase();
}
