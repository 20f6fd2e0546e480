import { setTimeout as delay } from "node:timers/promises";
import { type Picks, seededPicks } from "@cairn/test-support/seeded-random";

/** An operation in the judge's format. Times are in nanoseconds. */
export interface Operation {
  readonly history: number;
  readonly key: string;
  readonly client: number;
  readonly call: number;
  readonly return: number;
  readonly kind: "put" | "delete" | "cas" | "read";
  readonly value: string;
  readonly expected: string;
  readonly outcome: "ok" | "lost" | "unknown";
}

/** The kind of reads: linearizable, or plain ones, which the judge must reject. */
export type Reads = "linearizable" | "plain";

const KEYS = 2;
const CLIENTS = 5;
const TIMEOUT_MS = 1_500;
/** The longest pause (ms) between a client's operations. Pauses keep a history short enough to be judged. */
const MAX_PAUSE_MS = 40;

interface HttpResponse {
  readonly status: number;
  readonly etag: string | null;
  readonly body: string;
}

/**
 * Creates a history: clients read, write, compare and set, and delete a few keys through random nodes, until `signal`
 * aborts.
 */
export async function makeHistory(
  history: number,
  seed: number,
  urls: readonly [string, ...string[]],
  reads: Reads,
  signal: AbortSignal,
): Promise<Operation[]> {
  const operations: Operation[] = [];
  const runClient = async (client: number): Promise<void> => {
    const picks = seededPicks(seed * 1_000 + history * CLIENTS + client);
    for (let step = 0; !signal.aborted; step += 1) {
      const operation = await operate({ history, client, step, picks, reads, url: picks.of(urls) });
      if (operation !== undefined) operations.push(operation);
      await delay(picks.next() * MAX_PAUSE_MS);
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, (_, client) => runClient(client)));
  return operations;
}

interface Step {
  readonly history: number;
  readonly client: number;
  readonly step: number;
  readonly picks: Picks;
  readonly reads: Reads;
  readonly url: string;
}

async function operate({ history, client, step, picks, reads, url }: Step): Promise<Operation | undefined> {
  const key = `h${history}-${picks.below(KEYS)}`;
  const address = `${url}/api/v1/judged/${key}`;
  const common = { history, client, key };
  const kind = picks.of(["read", "read", "read", "put", "cas", "delete"] as const);
  const value = kind === "put" || kind === "cas" ? `${client}.${step}` : "";
  if (kind === "read")
    return await timed({ ...common, kind, value, expected: "" }, () => read(address, reads));
  if (kind !== "cas") {
    const method = kind === "put" ? "PUT" : "DELETE";
    return await timed({ ...common, kind, value, expected: "" }, () => write(address, method, value, {}));
  }
  const found = await ask(`${address}?timeout=${TIMEOUT_MS}`, {}).catch(() => undefined);
  if (found === undefined || (found.status !== 200 && found.status !== 404)) return undefined;
  const exists = found.status === 200;
  const headers = exists ? { "if-match": found.etag ?? "" } : { "if-none-match": "*" };
  const expected = exists ? (JSON.parse(found.body) as string) : "";
  return await timed({ ...common, kind, value, expected }, () => write(address, "PUT", value, headers));
}

type Answer = { readonly outcome: Operation["outcome"]; readonly value?: string } | undefined;

async function timed(
  operation: Omit<Operation, "call" | "return" | "outcome">,
  act: () => Promise<Answer>,
): Promise<Operation | undefined> {
  const call = now();
  const answer = await act();
  return answer === undefined ? undefined : { ...operation, call, return: now(), ...answer };
}

/** Reads a key. Returns undefined for a failed read, which shows nothing. */
async function read(address: string, reads: Reads): Promise<Answer> {
  const query = reads === "linearizable" ? "&linearizable=true" : "";
  const answer = await ask(`${address}?timeout=${TIMEOUT_MS}${query}`, {}).catch(() => undefined);
  if (answer?.status === 404) return { outcome: "ok", value: "" };
  return answer?.status === 200 ? { outcome: "ok", value: JSON.parse(answer.body) as string } : undefined;
}

async function write(
  address: string,
  method: "PUT" | "DELETE",
  value: string,
  headers: Record<string, string>,
): Promise<Answer> {
  const body = method === "PUT" ? JSON.stringify(value) : undefined;
  const request = { method, headers, ...(body === undefined ? {} : { body }) };
  try {
    const { status, body: text } = await ask(`${address}?timeout=${TIMEOUT_MS}`, request);
    if (status === 200 || status === 201) return { outcome: "ok" };
    if (status === 412) return { outcome: "lost" };
    // The node refused the operation before it was sent to the log.
    if (text.includes('"NOT_READY"') && !text.includes('"txId"')) return undefined;
    if (status < 500) throw new Error(`${method} ${address}: ${status} ${text}`);
    return { outcome: "unknown" };
  } catch (error) {
    const { cause } = error as { cause?: { code?: string } };
    if (cause?.code === "ECONNREFUSED") return undefined;
    if (error instanceof Error && error.message.startsWith(method)) throw error;
    return { outcome: "unknown" };
  }
}

async function ask(address: string, request: RequestInit): Promise<HttpResponse> {
  const signal = AbortSignal.timeout(2 * TIMEOUT_MS);
  const answer = await fetch(address, { ...request, signal });
  return { status: answer.status, etag: answer.headers.get("etag"), body: await answer.text() };
}

function now(): number {
  return Math.round(performance.now() * 1_000_000);
}
