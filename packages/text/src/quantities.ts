import { Duration } from "luxon";

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** Formats bytes: `80 KiB`, `1.5 GiB`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  // The limits take rounding into account: the result is never 1024 of a unit, and has no decimals at 100 or above.
  while (value >= 1023.5 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit > 0 && value < 99.95 ? 1 : 0;
  return `${value.toFixed(digits).replace(/\.0$/, "")} ${BYTE_UNITS[unit] ?? ""}`;
}

/** Formats a number: `1,200`. */
export function formatCount(count: number): string {
  return Math.round(count).toLocaleString("en-US");
}

/** Formats a number of things: `1 transaction`, `1,200 transactions`, `2 entries`. */
export function formatNumberOf(count: number, noun: string): string {
  return `${formatCount(count)} ${count === 1 ? noun : `${noun.replace(/y$/, "ie")}s`}`;
}

/** Formats a duration: `812 ms`, `4.2 s`, `3 min 5 s`, `5 h 12 min`, `2 d 3 h`. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 9950) return `${(ms / 1000).toFixed(1)} s`;
  const rounded = Duration.fromMillis(Math.round(ms / 1000) * 1000);
  const { days, hours, minutes, seconds } = rounded.shiftTo("days", "hours", "minutes", "seconds");
  const parts = [
    { amount: days, unit: "d" },
    { amount: hours, unit: "h" },
    { amount: minutes, unit: "min" },
    { amount: seconds, unit: "s" },
  ];
  const first = parts.findIndex(({ amount }) => amount > 0);
  const shown = parts.slice(first, first + 2).filter(({ amount }) => amount > 0);
  return shown.map(({ amount, unit }) => `${amount} ${unit}`).join(" ");
}

/** Formats a time: `2026-11-20 06:12:26 UTC`. */
export function formatTime(iso: string): string {
  return `${iso.slice(0, 19).replace("T", " ")} UTC`;
}

/** Formats a time relative to `now`: `12 min ago`, `in 5 h 12 min`. */
export function formatRelative(iso: string, now: number): string {
  const difference = now - Date.parse(iso);
  if (Math.abs(difference) < 1000) return "now";
  return difference > 0 ? `${formatDuration(difference)} ago` : `in ${formatDuration(-difference)}`;
}
