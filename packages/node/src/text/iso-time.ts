/** Formats milliseconds since 1970 as an ISO 8601 time, as in all responses. */
export function isoTime(time: number): string {
  return new Date(time).toISOString();
}
