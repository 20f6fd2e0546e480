import type { FastifyRequest } from "fastify";
import type { Transaction, TxOutcome } from "@cairn/client";
import type { NodeApi } from "../../api/node-api.ts";
import { TOO_LARGE } from "../../index/apply/apply-transactions.ts";
import type { Permit } from "./permit.ts";

export type RouteApi = Omit<NodeApi, "close">;

/** Returns the node as the sender of a request may use it. */
export type ApiFor = (request: FastifyRequest) => RouteApi;

/** Returns a function that limits `api` to what a request's permit allows. */
export function limitApi(api: NodeApi): ApiFor {
  const limited = new WeakMap<Permit, RouteApi>();
  return ({ permit }) => {
    // Such a permit has no limits, and nothing to record.
    if (permit.name === undefined && permit.buckets === undefined && permit.has("operate")) return api;
    let found = limited.get(permit);
    if (found === undefined) {
      found = new PermittedApi(api, permit);
      limited.set(permit, found);
    }
    return found;
  };
}

const NAME_A_BUCKET =
  "Name a bucket with the parameter bucket, or use a token that is not limited to buckets.";

/**
 * A node within the limits of a permit. Everything that a route does passes through it, so no route can return or
 * change anything in a bucket to which the token does not apply. The rights have been checked for the route
 * (route-rights.ts), except those of the operations in a transaction.
 */
class PermittedApi implements RouteApi {
  readonly #api: NodeApi;
  readonly #permit: Permit;

  constructor(api: NodeApi, permit: Permit) {
    this.#api = api;
    this.#permit = permit;
  }

  get id(): string {
    return this.#api.id;
  }

  get version(): string {
    return this.#api.version;
  }

  get phase(): NodeApi["phase"] {
    return this.#api.phase;
  }

  readonly prepareRead: NodeApi["prepareRead"] = (options) => this.#api.prepareRead(options);

  readonly indexed: NodeApi["indexed"] = (...wanted) => this.#api.indexed(...wanted);

  /** Throws `FORBIDDEN` at once, so that a batch submits nothing behind a line with such an error. */
  readonly submit: NodeApi["submit"] = (transaction, options) => {
    this.#requireOperations(transaction);
    const { name } = this.#permit;
    return this.#api.submit(transaction, name === undefined ? options : { ...options, by: name });
  };

  /** The caller has submitted this transaction, so it may see the whole outcome. */
  readonly commitResult: NodeApi["commitResult"] = (...wanted) => this.#api.commitResult(...wanted);

  readonly await: NodeApi["await"] = async (...wanted) => this.#visible(await this.#api.await(...wanted));

  readonly outcome: NodeApi["outcome"] = async (txId) => {
    const outcome = await this.#api.outcome(txId);
    return outcome === undefined ? undefined : this.#visible(outcome);
  };

  readonly writerOf: NodeApi["writerOf"] = async (txId) =>
    await this.#whole("writers concern").writerOf(txId);

  readonly get: NodeApi["get"] = async (key, options) => {
    this.#permit.requireBucket(key.bucket);
    return await this.#api.get(key, options);
  };

  readonly list: NodeApi["list"] = async (query) => {
    this.#permit.requireBucket(query.bucket);
    return await this.#api.list(query);
  };

  readonly history: NodeApi["history"] = async (key, options) => {
    this.#permit.requireBucket(key.bucket);
    return await this.#api.history(key, options);
  };

  readonly events: NodeApi["events"] = async (query = {}) => {
    this.#requireNamed(query.bucket, "a list of events without a bucket concerns");
    return await this.#api.events(query);
  };

  readonly watch: NodeApi["watch"] = (query = {}) => {
    this.#requireNamed(query.bucket, "a watch without a bucket concerns");
    return this.#api.watch(query);
  };

  readonly buckets: NodeApi["buckets"] = async (options) => {
    this.#permit.requireAllBuckets("the list of buckets concerns");
    return await this.#api.buckets(options);
  };

  readonly queues: NodeApi["queues"] = async (options) => {
    this.#permit.requireAllBuckets("the list of queues concerns");
    return await this.#api.queues(options);
  };

  readonly queue: NodeApi["queue"] = async (name, options) => {
    this.#permit.requireBucket(name);
    return await this.#api.queue(name, options);
  };

  readonly openEntries: NodeApi["openEntries"] = async (query) => {
    this.#permit.requireBucket(query.queue);
    return await this.#api.openEntries(query);
  };

  readonly entry: NodeApi["entry"] = async (queue, name, options) => {
    this.#permit.requireBucket(queue);
    return await this.#api.entry(queue, name, options);
  };

  readonly status: NodeApi["status"] = async () => await this.#whole("the status concerns").status();

  readonly cluster: NodeApi["cluster"] = async (options) =>
    await this.#whole("the status of the cluster concerns").cluster(options);

  readonly activity: NodeApi["activity"] = async (options) =>
    await this.#whole("the activity concerns").activity(options);

  readonly log: NodeApi["log"] = async () => await this.#whole("the log concerns").log();

  readonly metrics: NodeApi["metrics"] = async () => await this.#whole("metrics concern").metrics();

  readonly digest: NodeApi["digest"] = async (options) =>
    await this.#whole("the digest concerns").digest(options);

  readonly evictions: NodeApi["evictions"] = async (options) =>
    await this.#whole("evictions concern").evictions(options);

  readonly policies: NodeApi["policies"] = async (options) =>
    await this.#whole("policies concern").policies(options);

  readonly checkpoints: NodeApi["checkpoints"] = async () =>
    await this.#whole("checkpoints concern").checkpoints();

  readonly checkpoint: NodeApi["checkpoint"] = () => this.#whole("checkpoints concern").checkpoint();

  readonly verifyCheckpoint: NodeApi["verifyCheckpoint"] = async (name) =>
    await this.#whole("checkpoints concern").verifyCheckpoint(name);

  #whole(what: string): NodeApi {
    this.#permit.requireAllBuckets(what);
    return this.#api;
  }

  #requireNamed(bucket: string | undefined, what: string): void {
    if (bucket === undefined) this.#permit.requireAllBuckets(what, NAME_A_BUCKET);
    else this.#permit.requireBucket(bucket);
  }

  #requireOperations({ ops }: Transaction): void {
    for (const operation of ops) {
      if (operation[0] === "configure") {
        this.#permit.require("operate", "setting policies");
        this.#permit.requireAllBuckets("policies concern");
      } else if (operation[0] === "event") {
        const { bucket } = operation[1];
        if (bucket === undefined)
          this.#permit.requireAllBuckets(
            "an event without a bucket concerns",
            "Name a bucket in the event, or use a token that is not limited to buckets.",
          );
        else this.#permit.requireBucket(bucket);
      } else this.#permit.requireBucket(operation[1]);
    }
  }

  /** The reason of an abort names a key and its revision, and is omitted if they are in another bucket. */
  #visible(outcome: TxOutcome): TxOutcome {
    const { reason, ...others } = outcome;
    if (reason === undefined || reason === TOO_LARGE || this.#permit.buckets === undefined) return outcome;
    const bucket = /^CONFLICT: (\S+) \S/.exec(reason)?.[1];
    return bucket !== undefined && this.#permit.mayUse(bucket) ? outcome : others;
  }
}
