/** The content type of every JSON answer. */
export const JSON_TYPE = "application/json; charset=utf-8";

/** Returns JSON text as a whole line, so that a terminal shows its prompt below the answer. */
export function jsonLine(json: string): string {
  return `${json}\n`;
}

/** Returns a value as the text of an answer. */
export function jsonAnswer(value: unknown): string {
  return jsonLine(JSON.stringify(value));
}
