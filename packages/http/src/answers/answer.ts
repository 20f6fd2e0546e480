import type { Readable } from "node:stream";

export interface HttpAnswer {
  readonly status?: number;
  readonly headers?: Headers;
  /** The media type of the body. Defaults to JSON. */
  readonly type?: string;
  readonly body?: string | Readable;
}

/** Headers by their names in lower case. */
export type Headers = Readonly<Record<string, string | number>>;

export const JSON_TYPE = "application/json; charset=utf-8";

/** Returns JSON with a line break, so that a terminal shows its prompt below the response. */
export function jsonLine(json: string): string {
  return `${json}\n`;
}

export function jsonText(value: unknown): string {
  return jsonLine(JSON.stringify(value));
}

export function jsonAnswer(value: unknown, headers: Headers = {}, status = 200): HttpAnswer {
  return { status, headers, body: jsonText(value) };
}
