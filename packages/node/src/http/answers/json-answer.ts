export const JSON_TYPE = "application/json; charset=utf-8";

/** Returns JSON with a line break, so that a terminal shows its prompt below the response. */
export function jsonLine(json: string): string {
  return `${json}\n`;
}

export function jsonAnswer(value: unknown): string {
  return jsonLine(JSON.stringify(value));
}
