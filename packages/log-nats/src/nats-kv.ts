import {
  AckPolicy,
  connect,
  type Consumer,
  DeliverPolicy,
  type JsMsg,
  nanos,
  type NatsConnection,
} from "nats";
import { credentialOptions } from "./nats-credentials.ts";
import { serverList } from "./nats-reachable.ts";
import { omitUndefined, parseServer } from "@cairn/text";

interface NatsKvOptions {
  /** The addresses of the servers, separated by commas: `nats://user:password@127.0.0.1:4222`. */
  readonly servers: string;
  readonly credentialsFile: string | undefined;
  readonly kvBucket: string;
  /** Only keys that begin with this prefix are read. */
  readonly prefix: string;
  /** The size of the next request, which adapts to what was received. */
  readonly page: { readonly items: number; received(items: number, bytes: number): void };
  /** Returns the error of a bucket that cannot be read. */
  readonly unreadable: (place: string, cause: unknown, hint?: string) => Error;
}

/** A key with its newest value, or the reason why it is not a key of the bucket. */
interface NatsKeyValue {
  readonly key: Buffer;
  readonly value: Buffer | { readonly code: string; readonly message: string };
  readonly expires: false;
}

interface NatsKvSource {
  readonly pairs: AsyncIterable<readonly NatsKeyValue[]>;
  /** The number of keys, if it is known. */
  readonly total: number | undefined;
  close(): Promise<void>;
}

const TIMEOUT_MS = 5_000;
const INACTIVE_MS = 60_000;
/** Headers that say what a message is, with their values for removals. */
const REMOVALS = { "KV-Operation": ["DEL", "PURGE"], "Nats-Marker-Reason": ["MaxAge", "Purge", "Remove"] };
/** What clients write for a value, apart from no header. */
const VALUES = ["", "PUT"];

/** Reads the newest value of every key. A key that is changed meanwhile is read with its newest value at the end. */
export async function openNatsKv(options: NatsKvOptions): Promise<NatsKvSource> {
  const servers = options.servers.split(",").map(parseServer);
  const place = `The key-value bucket ${options.kvBucket} on NATS at ${serverList(servers)}`;
  const stream = `KV_${options.kvBucket}`;
  const { credentialsFile } = options;
  const credentials = await credentialOptions(omitUndefined({ credentialsFile }), servers);
  let connection: NatsConnection | undefined;
  let hint: string | undefined;
  try {
    connection = await connect({
      ...credentials,
      servers: servers.map(({ address }) => address),
      name: "cairn import",
      timeout: TIMEOUT_MS,
      reconnect: false,
    });
    const manager = await connection.jetstreamManager();
    const { mirror, sources = [] } = await manager.streams.info(stream);
    const behind = [...(mirror === undefined ? [] : [mirror]), ...sources].find(
      ({ lag, active }) => lag > 0 || active < 0,
    );
    if (behind !== undefined) {
      hint = "Wait until it has received them, or import that bucket.";
      throw new Error(`it has not received ${behind.lag || "all"} messages of its origin ${behind.name}`);
    }
    const { name } = await manager.consumers.add(stream, {
      deliver_policy: DeliverPolicy.LastPerSubject,
      filter_subject: ">",
      ack_policy: AckPolicy.None,
      inactive_threshold: nanos(INACTIVE_MS),
      mem_storage: true,
      num_replicas: 1,
    });
    const consumer = await connection.jetstream().consumers.get(stream, name);
    // A mirror keeps the subjects of its origin, which the first message shows.
    const origin = mirror === undefined ? options.kvBucket : undefined;
    const { num_pending: pending } = await consumer.info(true);
    return {
      pairs: readPairs({ consumer, pending, origin }, options, place),
      total: options.prefix === "" ? pending : undefined,
      close: connection.close.bind(connection),
    };
  } catch (error) {
    await connection?.close();
    throw options.unreadable(place, error, hint);
  }
}

/** `origin` is the bucket that the subjects name, if it is known. */
async function* readPairs(
  keys: { readonly consumer: Consumer; readonly pending: number; readonly origin: string | undefined },
  { prefix, page: size, unreadable }: NatsKvOptions,
  place: string,
): AsyncGenerator<NatsKeyValue[]> {
  let { pending, origin } = keys;
  let delivered = 0;
  while (pending > 0) {
    const messages = await fetchPage(keys.consumer, Math.min(size.items, pending), (cause) =>
      unreadable(place, cause),
    );
    for (const { info } of messages) {
      delivered += 1;
      // Without acknowledgements, the server does not send a lost message again.
      if (info.deliverySequence !== delivered) throw unreadable(place, "messages were lost in transit");
      ({ pending } = info);
    }
    const bytes = messages.reduce((sum, { data }) => sum + data.length, 0);
    size.received(messages.length, bytes);
    const pairs = messages
      .map((message) => ({ marks: marksOf(message), subject: message.subject, data: message.data }))
      .filter(({ marks }) => !marks.some(({ isRemoval }) => isRemoval))
      .map(({ subject, data, marks: [mark] }) => {
        const [, bucket, key = subject] = /^\$KV\.([^.]+)\.(.+)$/.exec(subject) ?? [];
        origin ??= bucket;
        if (mark !== undefined)
          return { key, value: { code: "TX_INVALID", message: `Its header ${mark.header} is unknown.` } };
        if (bucket !== undefined && bucket === origin) return { key, value: Buffer.from(data) };
        const message = `The subject ${subject} is not that of a key of this bucket: import the bucket to which it belongs.`;
        return { key, value: { code: "REQUEST_INVALID", message } };
      })
      .filter(({ key }) => key.startsWith(prefix))
      .map(({ key, value }) => ({ key: Buffer.from(key), value, expires: false as const }));
    if (pairs.length > 0) yield pairs;
  }
}

/** Returns the headers by which a message is no value: those of a removal, and unknown ones. */
function marksOf({ headers }: JsMsg): { readonly header: string; readonly isRemoval: boolean }[] {
  return Object.entries(REMOVALS).flatMap(([name, removals]) => {
    const value = headers?.get(name) ?? "";
    if (VALUES.includes(value)) return [];
    return [{ header: `${name}: ${value}`, isRemoval: removals.includes(value) }];
  });
}

async function fetchPage(
  consumer: Consumer,
  count: number,
  unreadable: (cause: unknown) => Error,
): Promise<JsMsg[]> {
  const messages: JsMsg[] = [];
  try {
    const page = await consumer.fetch({ max_messages: count, expires: TIMEOUT_MS });
    for await (const message of page) messages.push(message);
  } catch (error) {
    throw unreadable(error);
  }
  if (messages.length === 0) throw unreadable("the server does not send the remaining messages");
  return messages;
}
