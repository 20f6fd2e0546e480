/** The content type of every JSON response. */
export const JSON_TYPE = "application/json; charset=utf-8";

/** Returns JSON with a line break, so that a terminal shows its prompt below the response. */
export function jsonLine(json: string): string {
  return `${json}\n`;
}

/** Returns a value as the body of a JSON response. */
export function jsonAnswer(value: unknown): string {
  return jsonLine(JSON.stringify(value));
}
