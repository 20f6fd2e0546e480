import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CairnClient, CairnClientError, type Json } from "@cairn/client";
import { runCairn } from "@cairn/test-support/cairn-process";
import { expectedOf } from "./expected.ts";
import type { Text } from "./texts.ts";

/** A way for a document into a node. Each has a bucket of its own. */
export interface Door {
  readonly bucket: string;
  /** Whether a text can go this way. Defaults to true. */
  takes?(text: Text): boolean;
  /** Offers a text as a document. Returns the message of a refusal; undefined if it was accepted. */
  offer(text: Text, url: string): Promise<string | undefined>;
}

const LINE_BREAK = /[\n\r]/;
const BYTE_ORDER_MARK = "\ufeff";

export const DOORS: readonly Door[] = [
  {
    bucket: "put",
    offer: async ({ name, bytes }, url) =>
      await send(documentUrl(url, "put", name), { method: "PUT", body: bytes }),
  },
  {
    bucket: "transaction",
    // In the middle of a body, a byte order mark is not JSON.
    takes: ({ bytes }) => !bytes.toString().startsWith(BYTE_ORDER_MARK),
    offer: async (text, url) =>
      await send(`${url}/api/v1/tx?await=true`, { method: "POST", body: transaction("transaction", text) }),
  },
  {
    bucket: "batch",
    // The lines of a batch are transactions, so these would be two.
    takes: ({ bytes }) =>
      !LINE_BREAK.test(bytes.toString("latin1")) && !bytes.toString().startsWith(BYTE_ORDER_MARK),
    offer: async (text, url) =>
      await send(`${url}/api/v1/tx/batch?await=true`, {
        method: "POST",
        headers: { "content-type": "application/x-ndjson" },
        body: transaction("batch", text),
      }),
  },
  {
    bucket: "client",
    // A client takes values. What JavaScript reads differently is lost before it is called.
    takes: (text) => "body" in expectedOf(text),
    async offer({ name, bytes }, url) {
      const value = JSON.parse(bytes.toString().replace(BYTE_ORDER_MARK, "")) as Json;
      try {
        await new CairnClient({ urls: [url] }).put("client", name, value);
        return undefined;
      } catch (error) {
        if (error instanceof CairnClientError) return error.message;
        throw error;
      }
    },
  },
  {
    bucket: "command",
    async offer({ name, bytes }, url) {
      const folder = await mkdtemp(join(tmpdir(), "cairn-json-"));
      try {
        const file = join(folder, "document.json");
        await writeFile(file, bytes);
        const args = ["tx", "put", "command", `default/${name}`, `@${file}`, "--url", url];
        const { code, stderr } = await runCairn(args);
        if (code === 0) return undefined;
        return code === 2 ? stderr : `exit code ${String(code)}: ${stderr}`;
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
  },
];

/** Offers null in place of what JavaScript does not read. The judge must notice that. */
export const LENIENT_DOOR: Door = {
  bucket: "lenient",
  async offer({ name, bytes }, url) {
    const body = isJson(bytes.toString()) ? bytes : "null";
    return await send(documentUrl(url, "lenient", name), { method: "PUT", body });
  },
};

export function documentUrl(url: string, bucket: string, name: string): string {
  return `${url}/api/v1/${bucket}?key=${encodeURIComponent(`default/${name}`)}`;
}

/** Returns a transaction that contains a text as it is. */
function transaction(bucket: string, { name, bytes }: Text): Buffer<ArrayBuffer> {
  const head = `{"ops": [["put", ${JSON.stringify(bucket)}, ${JSON.stringify(`default/${name}`)}, `;
  return Buffer.concat([Buffer.from(head), bytes, Buffer.from("]]}")]);
}

async function send(url: string, init: RequestInit): Promise<string | undefined> {
  const response = await fetch(url, { headers: { "content-type": "application/json" }, ...init });
  const answer = await response.text();
  if (response.ok) return undefined;
  const { error } = JSON.parse(answer) as {
    readonly error: { readonly code: string; readonly message: string };
  };
  return response.status === 400 && /^[A-Z_]+$/.test(error.code)
    ? error.message
    : `${response.status} ${answer}`;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
