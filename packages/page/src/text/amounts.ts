/** What is shown in the place of a value that the node does not report. */
export const UNKNOWN = "unknown";

export function numberOf(value: unknown): number {
  return isNumber(value) ? value : 0;
}

const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);

/** Returns a text from a node; {@link UNKNOWN} if it is anything else. */
export function words(value: unknown): string {
  return typeof value === "string" && value !== "" ? value : UNKNOWN;
}

export function count(value: unknown): string {
  return isNumber(value) ? Math.round(value).toLocaleString("en") : UNKNOWN;
}

/** Returns a number with a noun, such as `1 transaction` or `2 transactions`. */
export function counted(value: unknown, noun: string): string {
  return `${count(value)} ${value === 1 ? noun : `${noun}s`}`;
}

const BYTE_UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];

export function amountOfBytes(value: unknown): string {
  if (!isNumber(value)) return UNKNOWN;
  const power = value < 1 ? 0 : Math.min(BYTE_UNITS.length - 1, Math.floor(Math.log2(value) / 10));
  return `${short(value / 1024 ** power)} ${BYTE_UNITS[power]}`;
}

export function rate(value: unknown): string {
  return isNumber(value) ? `${short(value)}/s` : UNKNOWN;
}

const DURATION_UNITS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
  ["s", 1_000],
] as const;

/** Returns a duration in the largest unit that suits it, such as `250 ms`, `4.2 s` or `3.5 h`. */
export function span(ms: unknown): string {
  if (!isNumber(ms)) return UNKNOWN;
  const [unit, length] = DURATION_UNITS.find(([, least]) => ms >= least) ?? ["ms", 1];
  return `${short(ms / length)} ${unit}`;
}

function short(value: number): string {
  if (value >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString("en");
  return value >= 0.1 ? String(Number(value.toFixed(1))) : value.toPrecision(1);
}
