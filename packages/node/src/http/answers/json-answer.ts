/** The content type of every JSON answer. */
export const JSON_TYPE = "application/json; charset=utf-8";

/** JSON text as it is answered: a whole line, so that a terminal shows its prompt below it. */
export function jsonLine(json: string): string {
  return `${json}\n`;
}

/** A value as an answer. */
export function jsonAnswer(value: unknown): string {
  return jsonLine(JSON.stringify(value));
}
