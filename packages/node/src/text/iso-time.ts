/** Formats milliseconds since 1970 as ISO 8601, as all responses do. */
export function isoTime(time: number): string {
  return new Date(time).toISOString();
}
