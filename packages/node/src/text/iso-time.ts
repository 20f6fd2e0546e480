/** Milliseconds since 1970 as the ISO-8601 text of every answer. */
export function isoTime(time: number): string {
  return new Date(time).toISOString();
}
