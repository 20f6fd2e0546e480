import type { IncomingMessage, ServerResponse } from "node:http";
import type { AnyOperation, Transaction, TxId, TxOutcome } from "@cairn/client";
import { type NodeApi, type ReadOptions, TOO_LARGE } from "@cairn/engine";
import type { TimeSlice } from "@cairn/kv";
import type { openStreams } from "../answers/open-streams.ts";
import type { RequestMemory } from "../answers/request-memory.ts";
import type { IndexBacklog } from "../requests/index-backlog.ts";
import { requestId } from "../requests/request-head.ts";
import { NOTHING, type Permit } from "./permit.ts";

/** What the requests of a server share. */
export interface Served {
  readonly api: NodeApi;
  readonly maxBody: number;
  /** The time that a request may take to arrive (ms). */
  readonly requestTimeoutMs: number;
  /** The memory for responses, and that for large bodies: writes that wait for the log must not keep reads waiting. */
  readonly unsent: RequestMemory;
  readonly bodies: RequestMemory;
  readonly beginStream: ReturnType<typeof openStreams>;
  /** The time slice that all bodies share, and the backlog that all batches do. */
  readonly slice: TimeSlice;
  readonly backlog: IndexBacklog;
}

/** The node without the methods that {@link Call} limits. */
export type RouteApi = Omit<NodeApi, "close" | "submit" | "await" | "outcome">;

/**
 * The buckets that a request concerns, for tokens limited to some: none (or those of its operations, which are checked
 * when it submits them), all, or those that the function returns, which are all if it returns undefined.
 */
export type Concern<Q> = "none" | "all" | ((call: Call<Q>) => string | readonly string[] | undefined);

/** A request as a route handles it. */
export class Call<Q = object> {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly id: string;
  readonly begin = performance.now();
  /** The URL as it was sent, without scheme and host. */
  readonly url: string;
  readonly method: string;
  readonly served: Served;
  permit: Permit = NOTHING;
  params: Readonly<Record<string, string>> = {};
  query = {} as Q;
  /** The JSON value in the body; undefined without a body. */
  body: unknown;
  /** The headers of the response that do not depend on the route. */
  readonly headers: Record<string, string | number>;

  constructor(request: IncomingMessage, response: ServerResponse, served: Served) {
    this.request = request;
    this.response = response;
    this.id = requestId(request);
    this.headers = { "x-request-id": this.id };
    this.url = request.url ?? "/";
    this.method = request.method ?? "GET";
    this.served = served;
  }

  get api(): RouteApi {
    return this.served.api;
  }

  /** Reserves memory for the response, see {@link RequestMemory.admit}. */
  get admit(): NonNullable<ReadOptions["admit"]> {
    return (...given) => this.served.unsent.admit(this.request, ...given);
  }

  /** Throws `FORBIDDEN` if a request concerns buckets to which the token does not apply. */
  require(concerns: Concern<Q>): void {
    if (this.permit.buckets === undefined || concerns === "none") return;
    const buckets = concerns === "all" ? undefined : concerns(this);
    if (buckets === undefined) return this.permit.requireAllBuckets();
    for (const bucket of [buckets].flat()) this.permit.requireBucket(bucket);
  }

  /** Submits a transaction. Throws `FORBIDDEN` at once, so that a batch submits nothing behind a line with such an error. */
  submit(...[transaction, options]: Parameters<NodeApi["submit"]>): ReturnType<NodeApi["submit"]> {
    requireOperations(this.permit, transaction);
    const { name } = this.permit;
    return this.served.api.submit(transaction, name === undefined ? options : { ...options, by: name });
  }

  /** Returns the outcome of any transaction, and waits for it if there is a time limit. */
  async outcome(txId: TxId, timeoutMs?: number): Promise<TxOutcome | undefined> {
    const { api } = this.served;
    const outcome = timeoutMs === undefined ? await api.outcome(txId) : await api.await(txId, { timeoutMs });
    const { permit } = this;
    if (outcome === undefined || permit.buckets === undefined) return outcome;
    // Nothing says of which queue the shards are.
    const { reason, shards: _, ...others } = outcome;
    // The reason of an abort names a key and its revision, and is omitted if they are in another bucket.
    const [, bucket] = /^CONFLICT: (\S+) \S/.exec(reason ?? "") ?? [];
    const isVisible = reason === TOO_LARGE || (bucket !== undefined && permit.mayUse(bucket));
    return (isVisible ? { ...others, reason } : others) as TxOutcome;
  }
}

function requireOperations(permit: Permit, { ops }: Transaction<AnyOperation>): void {
  for (const operation of ops) {
    if (operation[0] === "configure") {
      permit.require("operate", "setting policies");
      permit.requireAllBuckets();
    } else if (operation[0] === "event") {
      const { bucket } = operation[1];
      if (bucket === undefined) permit.requireAllBuckets();
      else permit.requireBucket(bucket);
    } else permit.requireBucket(operation[1]);
  }
}
