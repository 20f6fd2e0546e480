import { logUnreachable } from "./nats-reachable.ts";
import { randomUUID } from "node:crypto";
import { backoffMs, CairnError, wait } from "@cairn/kv";
import { type JetStreamManager, NatsError, type StreamInfo } from "nats";
import {
  decodeMessage,
  SAVE_BEYOND_GAP,
  trimmedTooFar,
  usedLog,
  type LogBounds,
  type LogMessage,
} from "@cairn/engine";
import { isTimeout, type NatsLink } from "./nats-connection.ts";
import {
  covers,
  describedLogId,
  describeLogId,
  streamSettings,
  subjectOf,
  unsafeSettings,
} from "./nats-stream-settings.ts";
import { apiCode, missingStream, NO_STREAM, publishFailure, streamError } from "./nats-stream-error.ts";

/** Error codes of the JetStream API (nats-server/server/errors.json). */
const NO_MESSAGE = 10037;
const NAME_IN_USE = 10058;
const SUBJECTS_OVERLAP = 10065;

const CREATE_DEADLINE_MS = 30_000;
const CREATE_BACKOFF = { firstMs: 20, maxMs: 1_000 };
/** The pause before a message inside the stream that the server reported as missing is requested again (ms). */
const ABSENT_AGAIN_MS = 1_000;
/** The maximum number of retries after a permanent refusal, which may have come from another stream. */
const MAX_FINAL_REFUSALS = 6;

interface StreamOptions {
  /** The prefix of the subjects of the JetStream API. */
  readonly api: string;
  readonly replicas: number;
  readonly create: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** Identifies one particular stream: it can be deleted and created again, and another domain may have its namesake. */
export interface StreamTarget {
  readonly subject: string;
  /** The time at which the stream was created, in the server's notation. */
  readonly created: string;
  /** The domain of the stream's servers. Empty if the servers have no domain. */
  readonly domain: string;
}

/** The stream that is the log: its existence, id, bounds and single messages. All queries go to the stream's leader. */
export class NatsStream {
  readonly name: string;
  readonly #link: NatsLink;
  readonly #manager: JetStreamManager;
  readonly #options: StreamOptions;
  /** The first log id that was seen in the stream created at `created`. */
  #described: { readonly created: string; readonly id: string } | undefined;

  constructor(link: NatsLink, manager: JetStreamManager, name: string, options: StreamOptions) {
    this.#link = link;
    this.#manager = manager;
    this.name = name;
    this.#options = options;
  }

  /** Undefined if no stream has this name. Throws `CONFIG_INVALID` if no messages can be written to the stream. */
  async find(): Promise<StreamInfo | undefined> {
    const info = await this.#look();
    if (info !== undefined) subjectOf(info.config);
    return info;
  }

  /** Like {@link find}, but throws `LOG_UNREACHABLE` if there is no stream. */
  async info(): Promise<StreamInfo> {
    return (await this.find()) ?? this.#throwMissing();
  }

  /** Like {@link info}, but for reading only: stored messages remain readable even if the stream's subjects change. */
  async readable(): Promise<StreamInfo> {
    return (await this.#look()) ?? this.#throwMissing();
  }

  async #look(): Promise<StreamInfo | undefined> {
    this.#link.check();
    let info: StreamInfo;
    try {
      info = await this.#link.answer(this.#manager.streams.info(this.name));
    } catch (error) {
      if (apiCode(error) === NO_STREAM) return undefined;
      throw this.#error(error);
    }
    // This call throws if the stream cannot be a log.
    unsafeSettings(info.config);
    const inbox = this.#link.createInbox();
    // Where other nodes, the servers and pulls respond.
    const inboxes = [inbox, `${inbox}.0`, `${inbox}.0.0`];
    if (info.config.subjects.some((pattern) => inboxes.some((subject) => covers(pattern, subject)))) {
      throw new CairnError(
        "CONFIG_INVALID",
        `The stream "${this.name}" captures the subjects below ${this.#link.inboxPrefix}, on which the servers respond, so every response would be stored in the log.`,
        `Configure the stream to capture only the subject ${this.name}.tx, or set a different "inbox-prefix" for the log.`,
      );
    }
    const id = describedLogId(info.config.description);
    if (id !== undefined && this.#described?.created !== info.created) {
      this.#described = { created: info.created, id };
    }
    return info;
  }

  #throwMissing(): never {
    throw missingStream(this.name, this.#link);
  }

  async logId(): Promise<string | undefined> {
    return describedLogId((await this.find())?.config.description);
  }

  async bounds(): Promise<LogBounds> {
    const { state } = await this.readable();
    const bounds = { first: Math.max(1, state.first_seq), last: state.last_seq };
    // Servers that do not know the time report one in the year 1.
    const lastTime = state.messages > 0 ? 0 : Date.parse(state.last_ts);
    return lastTime > 0 ? { ...bounds, lastTime } : bounds;
  }

  /** Does not use "direct get": a lagging replica would report an existing message as absent. */
  async fetch(position: number): Promise<LogMessage | undefined> {
    if (position < 1) return undefined;
    const message = await this.#tryFetch(position);
    if (message !== undefined) return message;
    const { first, last } = await this.bounds();
    if (position < first || position > last) return undefined;
    // The server also reports a message as missing if it fails to read it, for example from a cache that it is just
    // filling (nats-server 2.9). A node that believes this stops serving, so the server is asked again.
    await wait(ABSENT_AGAIN_MS);
    return await this.#tryFetch(position);
  }

  async #tryFetch(position: number): Promise<LogMessage | undefined> {
    this.#link.check();
    try {
      const { seq, data, time, timestamp } = await this.#link.answer(
        this.#manager.streams.getMessage(this.name, { seq: position }),
      );
      return { position: seq, time: time.getTime(), nanoseconds: belowMillisecond(timestamp), payload: data };
    } catch (error) {
      if (apiCode(error) === NO_MESSAGE) return undefined;
      throw this.#error(error);
    }
  }

  async inspect(logId?: string): Promise<readonly CairnError[]> {
    const info = await this.find();
    if (info === undefined) return [];
    const { config, state } = info;
    const warnings = unsafeSettings(config);
    const { num_deleted: deleted = 0 } = state;
    if (deleted > 0) {
      const missing = deleted === 1 ? "A message" : `${deleted} messages`;
      const message = `${missing} inside the stream "${this.name}" ${deleted === 1 ? "was" : "were"} deleted.`;
      const hint = `${SAVE_BEYOND_GAP} A node that reads the log from before the gap cannot continue without one. Find out what is deleting messages. This warning remains as long as the log has the gap.`;
      warnings.push(new CairnError("LOG_GAP", message, hint));
    }
    const described = describedLogId(config.description);
    if (logId === undefined || described === logId) return warnings;
    const { created: seen, id } = this.#described ?? {};
    const known = seen === info.created && id === logId ? logId : ((await this.#birthId()) ?? described);
    // Another log has taken the place of the node's own, which the node will notice. This id is not to be written there.
    if (state.last_seq === 0 || (known !== undefined && known !== logId)) return warnings;
    // The description is restored only if the stream is known to be this log.
    const isRestored = known === logId && (await this.#describe(logId, config.description));
    if (isRestored) return warnings;
    const undescribed = new CairnError(
      "LOG_UNSAFE",
      `The description of the stream "${this.name}" does not contain the log's id, and this node cannot write it there.`,
      `Run nats stream edit ${this.name} --description "cairn log id ${logId}", because once the first message of the log is trimmed, only the description identifies the log.`,
    );
    return [...warnings, undescribed];
  }

  async #birthId(): Promise<string | undefined> {
    const first = await this.fetch(1);
    const decoded = first === undefined ? undefined : decodeMessage(first.payload);
    return decoded?.kind === "birth" ? decoded.birth.log : undefined;
  }

  async trim(upTo: number): Promise<void> {
    const { config, state } = await this.info();
    if (upTo > state.last_seq) throw trimmedTooFar(this.name, upTo, state.last_seq);
    if (upTo <= state.first_seq) return;
    if (config.deny_purge) {
      throw new CairnError(
        "CONFIG_INVALID",
        `The stream "${this.name}" does not allow messages to be purged.`,
        "Keep the log untrimmed, or move it to another stream, because deny_purge cannot be revoked.",
      );
    }
    await this.#explained(this.#manager.streams.purge(this.name, { seq: upTo }));
  }

  /** Recreates the stream with the same settings, because an operator may have chosen them. */
  async removeUnused(logId: string): Promise<void> {
    const { config, state } = await this.info();
    const id = describedLogId(config.description) ?? (await this.#birthId());
    if (state.messages !== 1 || state.last_seq !== 1 || id !== logId)
      throw usedLog(this.name, state.last_seq);
    await this.#explained(this.#manager.streams.delete(this.name));
    const description = describeLogId(randomUUID(), config.description);
    await this.#explained(this.#manager.streams.add({ ...config, description }));
  }

  async create(birthRecord: (logId: string) => Uint8Array): Promise<void> {
    const found = await this.find();
    const { config, state } = found ?? (await this.#add());
    // An empty stream that once held messages gets no birth record, because their history may still exist elsewhere.
    if (state.last_seq > 0) return;
    const described = describedLogId(config.description);
    // The id of an existing empty stream may belong to a history that the server has lost, and two histories must never
    // share an id.
    const logId = (found === undefined ? described : undefined) ?? randomUUID();
    const won = await this.#publishBirth(birthRecord(logId));
    if (won && described !== logId) await this.#describe(logId, config.description);
  }

  async #add(): Promise<StreamInfo> {
    if (!this.#options.create) {
      throw logUnreachable(
        `NATS at ${this.#link.place} has no stream "${this.name}", and the configuration does not allow Cairn to create it.`,
        'Create the stream, or set "create-stream?" to true.',
      );
    }
    try {
      await this.#manager.streams.add(streamSettings(this.name, this.#options.replicas, randomUUID()));
    } catch (error) {
      // Another node was faster, and its log id takes precedence. For a moment, the server reports only that the
      // subjects are in use.
      const taken = apiCode(error) === SUBJECTS_OVERLAP && (await this.find()) !== undefined;
      if (!taken && apiCode(error) !== NAME_IN_USE) throw this.#error(error);
    }
    return this.info();
  }

  /** Writes the log id into the description. Returns false if the node's user is not permitted to do so. */
  async #describe(logId: string, description: string | undefined): Promise<boolean> {
    try {
      await this.#manager.streams.update(this.name, { description: describeLogId(logId, description) });
      return true;
    } catch (error) {
      if (error instanceof NatsError) return false;
      throw error;
    }
  }

  /** Exactly one node succeeds, because the stream accepts this message only as its very first one. */
  async #publishBirth(payload: Uint8Array): Promise<boolean> {
    const { subject } = targetOf(await this.info());
    const { signal } = this.#options;
    const deadline = performance.now() + CREATE_DEADLINE_MS;
    let finals = 0;
    for (let tries = 0; ; tries += 1) {
      this.#link.check();
      const failure = await this.#tryBirth(subject, payload);
      // The result is verified regardless of the response, because a timeout proves nothing, and a stream in another
      // domain may have responded. The condition makes retries safe.
      const first = await this.fetch(1);
      if (first !== undefined) return Buffer.compare(first.payload, payload) === 0;
      if ((await this.info()).state.last_seq > 0) return false;
      const refused = failure?.api_error;
      if (refused !== undefined && publishFailure(this.name, refused) !== "retry") finals += 1;
      if (performance.now() > deadline || finals > MAX_FINAL_REFUSALS)
        throw this.#error(failure ?? new Error("it did not store the birth record"));
      await wait(backoffMs(tries, CREATE_BACKOFF), signal);
      signal?.throwIfAborted();
    }
  }

  /** Returns the error; undefined if a stream has stored the record. */
  async #tryBirth(subject: string, payload: Uint8Array): Promise<NatsError | undefined> {
    const expect = { lastSequence: 0, streamName: this.name };
    try {
      await this.#manager.jetstream().publish(subject, payload, { expect, timeout: 5_000 });
      return undefined;
    } catch (error) {
      if (error instanceof NatsError) return error;
      throw error;
    }
  }

  async #explained(request: Promise<unknown>): Promise<void> {
    try {
      await request;
    } catch (error) {
      throw this.#error(error);
    }
  }

  #error(error: unknown): CairnError {
    if (isTimeout(error)) void this.#link.seekLostResponses(`${this.#options.api}.STREAM.INFO.${this.name}`);
    return streamError(this.name, this.#link, error);
  }
}

export function targetOf(info: StreamInfo): StreamTarget {
  // The client does not know this member. Servers without a domain omit it.
  const domain = "domain" in info && typeof info.domain === "string" ? info.domain : "";
  return { subject: subjectOf(info.config), created: info.created, domain };
}

/** Returns the last six of up to nine decimals of the server's ISO 8601 time. A Date does not contain these digits. */
function belowMillisecond(timestamp: string): number {
  const digits = /\.(\d+)/.exec(timestamp)?.[1] ?? "";
  return Number(digits.padEnd(9, "0").slice(3, 9));
}
