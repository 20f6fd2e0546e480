import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { CairnError } from "@cairn/kv";
import { headers, type JetStreamManager, NatsError, type StreamInfo } from "nats";
import { decodeMessage } from "../../transactions/transaction-codec.ts";
import { trimmedTooFar } from "../anchor.ts";
import { usedLog } from "../log-identity.ts";
import type { NatsLink } from "./nats-connection.ts";
import { publishFailure } from "./nats-publish-failure.ts";
import {
  coversBelow,
  describedLogId,
  describeLogId,
  streamSettings,
  subjectOf,
  unsafeSettings,
} from "./nats-stream-settings.ts";
import { apiCode, NO_STREAM, streamError } from "./nats-stream-error.ts";
import type { LogBounds, LogMessage } from "../tx-log.ts";

/** Codes of the JetStream API (nats-server/server/errors.json). */
const NO_MESSAGE = 10037;
const NAME_IN_USE = 10058;
const SUBJECTS_OVERLAP = 10065;

const CREATE_DEADLINE_MS = 30_000;
/** How often a birth record is tried again that the server will not take: another stream may have been the one that said so. */
const FINAL_TRIES = 6;

/** How a missing stream is made. */
export interface StreamCreation {
  readonly replicas: number;
  readonly create: boolean;
  /** Ends the making of it. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Where messages for a stream go, and which stream of its name is meant: it can be deleted and made anew, and another domain of servers may
 * have one of the same name.
 */
export interface StreamTarget {
  readonly subject: string;
  /** When it was made, as the server writes it. */
  readonly created: string;
  /** Empty where its servers have none. */
  readonly domain: string;
}

/** The stream that is the log: its existence, id, bounds and single messages. Always asks the stream's leader. */
export class NatsStream {
  readonly name: string;
  readonly #link: NatsLink;
  readonly #manager: JetStreamManager;
  readonly #creation: StreamCreation;
  /** The log id that the stream made at `created` was first seen to carry. */
  #described: { readonly created: string; readonly id: string } | undefined;

  constructor(link: NatsLink, manager: JetStreamManager, name: string, creation: StreamCreation) {
    this.#link = link;
    this.#manager = manager;
    this.name = name;
    this.#creation = creation;
  }

  /** What the server says of the stream; undefined when it has none of this name. Errors: `CONFIG_INVALID` when it cannot be written to. */
  async find(): Promise<StreamInfo | undefined> {
    const info = await this.#look();
    if (info !== undefined) subjectOf(info.config);
    return info;
  }

  /** {@link find}, for those who need the stream: rejects with `LOG_UNREACHABLE` when there is none. */
  async info(): Promise<StreamInfo> {
    return (await this.find()) ?? this.#throwMissing();
  }

  /** {@link info}, for those who read alone: what was stored stays readable when the stream's subjects are changed. */
  async readable(): Promise<StreamInfo> {
    return (await this.#look()) ?? this.#throwMissing();
  }

  async #look(): Promise<StreamInfo | undefined> {
    this.#link.check();
    let info: StreamInfo;
    try {
      info = await this.#manager.streams.info(this.name);
    } catch (error) {
      if (apiCode(error) === NO_STREAM) return undefined;
      throw this.#error(error);
    }
    // What refuses a stream that cannot be a log at all.
    unsafeSettings(info.config);
    if (info.config.subjects.some((pattern) => coversBelow(pattern, this.#link.inboxPrefix))) {
      throw capturedInbox(this.name, this.#link.inboxPrefix);
    }
    const id = describedLogId(info.config.description);
    if (id !== undefined && this.#described?.created !== info.created) {
      this.#described = { created: info.created, id };
    }
    return info;
  }

  #throwMissing(): never {
    throw new CairnError("LOG_UNREACHABLE", `NATS at ${this.#link.place} has no stream "${this.name}".`, {
      hint: "Check the name of the stream and the address of the server.",
    });
  }

  async logId(): Promise<string | undefined> {
    return describedLogId((await this.find())?.config.description);
  }

  async bounds(): Promise<LogBounds> {
    const { state } = await this.readable();
    return { first: Math.max(1, state.first_seq), last: state.last_seq };
  }

  /** The stream as messages are sent to it; undefined when there is none. */
  async findTarget(): Promise<StreamTarget | undefined> {
    const info = await this.find();
    return info === undefined ? undefined : targetOf(info);
  }

  /** Not by "direct get": a replica that lags would answer with an absence that is none. */
  async fetch(position: number): Promise<LogMessage | undefined> {
    this.#link.check();
    if (position < 1) return undefined;
    try {
      const { seq, data, time, timestamp } = await this.#manager.streams.getMessage(this.name, {
        seq: position,
      });
      return { position: seq, time: time.getTime(), nanoseconds: belowMillisecond(timestamp), payload: data };
    } catch (error) {
      if (apiCode(error) === NO_MESSAGE) return undefined;
      throw this.#error(error);
    }
  }

  /** See {@link TxLog.inspect}. */
  async inspect(logId?: string): Promise<readonly CairnError[]> {
    const info = await this.find();
    if (info === undefined) return [];
    const { config, state } = info;
    const warnings = [...unsafeSettings(config), ...holes(this.name, state.num_deleted)];
    if (logId === undefined || describedLogId(config.description) === logId) return warnings;
    return (await this.#describeAgain(info, logId)) ? warnings : [...warnings, undescribed(this.name, logId)];
  }

  /** Only on the stream that is known to be this log: another one may be there in its place by now. */
  async #describeAgain({ created, config }: StreamInfo, logId: string): Promise<boolean> {
    const { created: seen, id } = this.#described ?? {};
    const isKnown = (seen === created && id === logId) || (await this.#birthId()) === logId;
    return isKnown && (await this.#describe(logId, config.description));
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
      throw new CairnError("CONFIG_INVALID", `The stream "${this.name}" does not let messages be purged.`, {
        hint: "deny_purge cannot be taken back: the log stays as long as it is, or is kept in another stream.",
      });
    }
    try {
      await this.#manager.streams.purge(this.name, { seq: upTo });
    } catch (error) {
      throw this.#error(error);
    }
  }

  /** See {@link TxLog.removeUnused}. The stream is made again with its settings, since somebody may have chosen them. */
  async removeUnused(logId: string): Promise<void> {
    const { config, state } = await this.info();
    const id = describedLogId(config.description) ?? (await this.#birthId());
    if (state.messages !== 1 || state.last_seq !== 1 || id !== logId)
      throw usedLog(this.name, state.last_seq);
    try {
      await this.#manager.streams.delete(this.name);
      await this.#manager.streams.add({
        ...config,
        description: describeLogId(randomUUID(), config.description),
      });
    } catch (error) {
      throw this.#error(error);
    }
  }

  async create(birthRecord: (logId: string) => Uint8Array): Promise<void> {
    const found = await this.find();
    const { config, state } = found ?? (await this.#add());
    // Never on an empty stream that once held messages: its history exists, somewhere.
    if (state.last_seq > 0) return;
    const described = describedLogId(config.description);
    // The id on an empty stream that was there may be of a history which the server lost: two must never have the same.
    const logId = (found === undefined ? described : undefined) ?? randomUUID();
    const won = await this.#publishBirth(birthRecord(logId));
    if (won && described !== logId) {
      await this.#describe(logId, config.description);
    }
  }

  async #add(): Promise<StreamInfo> {
    if (!this.#creation.create) {
      throw new CairnError(
        "LOG_UNREACHABLE",
        `NATS at ${this.#link.place} has no stream "${this.name}", and may not get one.`,
        {
          hint: 'Make the stream, or set "create-stream?" to true.',
        },
      );
    }
    try {
      await this.#manager.streams.add(streamSettings(this.name, this.#creation.replicas, randomUUID()));
    } catch (error) {
      // Another node was faster; its log id counts. For an instant the server only says that the subjects are taken.
      const taken = apiCode(error) === SUBJECTS_OVERLAP && (await this.find()) !== undefined;
      if (!taken && apiCode(error) !== NAME_IN_USE) throw this.#error(error);
    }
    return this.info();
  }

  /** Whether it could be written: the user of a node may not be permitted to. */
  async #describe(logId: string, description: string | undefined): Promise<boolean> {
    try {
      await this.#manager.streams.update(this.name, { description: describeLogId(logId, description) });
      return true;
    } catch (error) {
      if (error instanceof NatsError) return false;
      throw error;
    }
  }

  /** Of all who try, one succeeds: the stream takes it as its very first message or not at all. */
  async #publishBirth(payload: Uint8Array): Promise<boolean> {
    const conditions = headers();
    conditions.set("Nats-Expected-Last-Sequence", "0");
    conditions.set("Nats-Expected-Stream", this.name);
    const { subject } = targetOf(await this.info());
    const { signal } = this.#creation;
    const deadline = performance.now() + CREATE_DEADLINE_MS;
    let finals = 0;
    for (let pause = 20; ; pause = Math.min(1_000, pause * 2)) {
      this.#link.check();
      const failure = await this.#tryBirth(subject, payload, conditions);
      // Whatever was answered: a timeout says nothing, and a stream of another domain may have answered. The condition makes repeating harmless.
      const first = await this.fetch(1);
      if (first !== undefined) return Buffer.compare(first.payload, payload) === 0;
      if ((await this.info()).state.last_seq > 0) return false;
      if (isFinal(this.name, failure)) finals += 1;
      if (performance.now() > deadline || finals > FINAL_TRIES)
        throw this.#error(failure ?? new Error("it did not store the birth record"));
      await delay(pause, undefined, signal === undefined ? {} : { signal });
    }
  }

  async #tryBirth(
    subject: string,
    payload: Uint8Array,
    conditions: ReturnType<typeof headers>,
  ): Promise<unknown> {
    try {
      const answer = await this.#link.connection.request(subject, payload, {
        headers: conditions,
        timeout: 5_000,
      });
      const { error } = answer.json<{ error?: { err_code: number; code: number; description: string } }>();
      if (error === undefined) return undefined;
      const failure = new NatsError(error.description, `${error.code}`);
      failure.api_error = error;
      return failure;
    } catch (error) {
      return error instanceof NatsError ? error : Promise.reject(error);
    }
  }

  #error(error: unknown): CairnError {
    return streamError(this.name, this.#link, error);
  }
}

/** Whether the server refused a message for good. */
function isFinal(stream: string, failure: unknown): boolean {
  const refused = failure instanceof NatsError ? failure.api_error : undefined;
  return refused !== undefined && publishFailure(stream, refused) !== "retry";
}

/** What messages for the stream have to know of it. */
export function targetOf(info: StreamInfo): StreamTarget {
  // Unknown to the client: it is left out where the servers have no domain.
  const domain = "domain" in info && typeof info.domain === "string" ? info.domain : "";
  return { subject: subjectOf(info.config), created: info.created, domain };
}

function capturedInbox(name: string, prefix: string): CairnError {
  return new CairnError(
    "CONFIG_INVALID",
    `The stream "${name}" takes the subjects below ${prefix}, on which the servers answer: every answer would be stored in the log.`,
    { hint: `Give the stream the subject ${name}.tx alone, or the log another "inbox-prefix".` },
  );
}

function undescribed(name: string, logId: string): CairnError {
  return new CairnError(
    "LOG_UNSAFE",
    `The description of the stream "${name}" does not say the log's id, and this node cannot write it there.`,
    {
      hint: `nats stream edit ${name} --description "cairn log id ${logId}": once its first message is trimmed, nothing else tells nodes which log it is.`,
    },
  );
}

/** `LOG_GAP` where messages between the first and the last were deleted; so many of them. */
function holes(name: string, deleted = 0): CairnError[] {
  if (deleted === 0) return [];
  const missing = deleted === 1 ? "A message" : `${deleted} messages`;
  return [
    new CairnError(
      "LOG_GAP",
      `${missing} inside the stream "${name}" ${deleted === 1 ? "was" : "were"} deleted.`,
      {
        hint: "cairn checkpoint create at a ready node saves a checkpoint beyond it: without one, a node that reads the log from before it cannot go on. Find out who deletes messages. This is said as long as the log has the hole.",
      },
    ),
  ];
}

/** Of an ISO-8601 time with up to nine digits behind the point, as the server writes them, the last six: a Date has none of them. */
function belowMillisecond(timestamp: string): number {
  const digits = /\.(\d+)/.exec(timestamp)?.[1] ?? "";
  return Number(digits.padEnd(9, "0").slice(3, 9));
}
