import { Cluster, Redis } from "ioredis";
import { withoutUser } from "@cairn/kv";
import { addressUrl, formatBytes } from "@cairn/text";
import { UsageError } from "../terminal/report-error.ts";
import { type ImportRefusal, type KeyValue, type KeyValueSource, stringOf } from "./import-record.ts";
import { sourceUnreadable } from "./source-unreadable.ts";

/** The number of keys for which Redis looks in one step of a scan. */
const SCANNED_KEYS = 500;
/** The memory that the values of a group of keys take in Redis. The values of a group are read at once. */
const GROUP_BYTES = 8 * 1024 * 1024;
/** A value that takes more memory in Redis is refused without being read. No node accepts a line of this size. */
const MAX_VALUE_BYTES = 64 * 1024 * 1024;
/** The memory that is assumed for a value if Redis does not report it. */
const ASSUMED_BYTES = 64 * 1024;
const CONNECT_TIMEOUT_MS = 5_000;
/** The time within which Redis must answer. Large collections take seconds. */
const COMMAND_TIMEOUT_MS = 60_000;

/**
 * Reads the keys with a prefix of a Redis database (`redis://user:password@127.0.0.1:6379/0`, `rediss://…` with TLS), or
 * of the whole cluster to which the server belongs. A key that is changed meanwhile may be read before or after the
 * change. A server that holds only a part of the keys is refused.
 */
export async function openRedis(url: string, prefix: string): Promise<KeyValueSource> {
  const { host, database } = parseAddress(url);
  const place = `Redis at ${host}`;
  const redis = new Redis(url, OPTIONS);
  let cluster: Cluster | undefined;
  let connectionError: Error | undefined;
  const onError = (error: Error): void => void (connectionError = error);
  redis.on("error", onError);
  const asked: Asked = async (ask) => {
    try {
      return await ask();
    } catch (error) {
      throw sourceUnreadable(place, connectionError ?? error);
    }
  };
  const close = (): void => {
    cluster?.disconnect();
    redis.disconnect();
  };
  try {
    await asked(() => redis.connect());
    // The client does not report whether it could select the database. A user need not be allowed to select the first.
    if (Number(database) > 0) await asked(() => redis.select(Number(database)));
    const role = await refusePart(redis, place, database);
    const slots = await asked(() => slotsOf(redis));
    let masters = [redis];
    if (slots !== undefined) {
      const { username, password, tls } = redis.options;
      const options = { ...OPTIONS, username, password, tls };
      const opened = new Cluster([url], {
        ...OPTIONS,
        slotsRefreshTimeout: CONNECT_TIMEOUT_MS,
        redisOptions: options,
      });
      cluster = opened;
      opened.on("node error", onError);
      await asked(() => opened.connect());
      masters = opened.nodes("master");
    }
    const sizes = await asked(() => Promise.all(masters.map((master) => master.dbsize())));
    return {
      pairs: readAll(masters, prefix, asked, async () => {
        if ((await asked(() => slotsOf(redis))) !== slots)
          throw sourceUnreadable(place, "slots of the cluster were moved while it was read", STABLE);
        if ((await refusePart(redis, place, "0")) !== role)
          throw sourceUnreadable(
            place,
            "it became a master or a replica while it was read",
            "Import from the master.",
          );
      }),
      total: prefix === "" ? sizes.reduce((sum, size) => sum + size, 0) : undefined,
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

type Asked = <T>(ask: () => Promise<T>) => Promise<T>;

const EXAMPLE =
  'Write, for example, redis://127.0.0.1:6379/0, and special characters of a password percent-encoded ("/" is %2F).';
const MAY_ASK =
  "Allow the user INFO (ACL SETUSER user +info), which tells whether the server has all keys, or use another user.";
const STABLE =
  "Wait until the cluster serves all its slots and none is being moved (redis-cli --cluster check).";
const OPTIONS = {
  lazyConnect: true,
  // It asks what a user may lack the right to, and says so on the terminal.
  enableReadyCheck: false,
  connectTimeout: CONNECT_TIMEOUT_MS,
  commandTimeout: COMMAND_TIMEOUT_MS,
  maxRetriesPerRequest: 0,
  retryStrategy: () => null,
  clusterRetryStrategy: () => null,
};
const CLUSTER_SLOTS = 16_384;

function parseAddress(url: string): { readonly host: string; readonly database: string } {
  const parsed = addressUrl(url, "redis", "rediss");
  if (parsed !== undefined) {
    const { host, pathname } = parsed;
    const database = pathname.slice(1);
    if (/^[0-9]{0,9}$/.test(database)) return { host, database };
  }
  throw new UsageError(`${withoutUser(url)} is not the address of a Redis database.`, EXAMPLE);
}

/**
 * Refuses a replica that lacks its master's keys, and an address without a database if others have keys, too. Returns
 * whose keys the server has, which changes when it becomes a replica of another.
 */
async function refusePart(redis: Redis, place: string, database: string): Promise<string> {
  const { info, error } = await redis.info().then(
    (text) => ({ info: text, error: undefined }),
    (reason: unknown) => ({ info: "", error: reason }),
  );
  if (error !== undefined) throw sourceUnreadable(place, error, MAY_ASK);
  if (/^role:slave/m.test(info) && !/^master_link_status:up/m.test(info))
    throw sourceUnreadable(
      place,
      "it is a replica that has not received all keys of its master",
      "Import from the master.",
    );
  const others = Array.from(info.matchAll(/^db(\d+):keys=(\d+)/gm), ([, db, keys]) => `${db} has ${keys}`);
  if (database === "" && others.some((other) => !other.startsWith("0 ")))
    throw new UsageError(
      `${place} has keys in several databases (${others.join(", ")}), and the address names none.`,
      "Write the number of the database at the end of the address (redis://127.0.0.1:6379/0), and import each that you need.",
    );
  return String(info.match(/^(?:role|master_replid):\S*/gm));
}

/** Returns which servers of its cluster hold which slots, as text; undefined if the server belongs to no cluster. */
async function slotsOf(redis: Redis): Promise<string | undefined> {
  let slots: readonly (readonly [from: number, to: number, ...servers: unknown[]])[];
  try {
    slots = (await redis.cluster("SLOTS")) as typeof slots;
  } catch (error) {
    // Without a cluster, or in a service that knows none, the command fails. A user may also lack the right to ask.
    if (error instanceof Error && error.name === "ReplyError" && !error.message.startsWith("NOPERM"))
      return undefined;
    throw error;
  }
  if (slots.reduce((sum, [from, to]) => sum + to - from + 1, 0) === CLUSTER_SLOTS)
    return JSON.stringify(slots);
  throw new Error("its cluster does not serve all slots");
}

async function* readAll(
  masters: readonly Redis[],
  prefix: string,
  asked: Asked,
  check: () => Promise<void>,
): AsyncGenerator<KeyValue[]> {
  for (const master of masters) yield* readPairs(master, prefix, asked);
  await check();
}

async function* readPairs(redis: Redis, prefix: string, asked: Asked): AsyncGenerator<KeyValue[]> {
  const pattern = `${prefix.replaceAll(/[\\*?[\]]/g, String.raw`\$&`)}*`;
  let cursor = "0";
  do {
    const [next, keys] = await asked(() => redis.scanBuffer(cursor, "MATCH", pattern, "COUNT", SCANNED_KEYS));
    cursor = next.toString();
    const described = await asked(() => describe(redis, keys));
    for (const group of groups(described)) {
      const pairs = await asked(() => readGroup(redis, group));
      if (pairs.length > 0) yield pairs;
    }
  } while (cursor !== "0");
}

interface DescribedKey {
  readonly key: Buffer;
  readonly type: string;
  readonly bytes: number;
  readonly expires: boolean;
}

async function describe(redis: Redis, keys: readonly Buffer[]): Promise<DescribedKey[]> {
  const pipeline = redis.pipeline();
  // Not every service that speaks the protocol reports the memory of a key.
  for (const key of keys) pipeline.type(key).pttl(key).call("MEMORY", "USAGE", key, "SAMPLES", "0");
  const answers = await results(pipeline.exec(), { mayFail: (at) => at % 3 === 2 });
  return keys.map((key, at) => {
    const [type, ttl, bytes] = answers.slice(3 * at, 3 * at + 3);
    return {
      key,
      type: String(type),
      expires: Number(ttl) >= 0,
      bytes: typeof bytes === "number" ? bytes : ASSUMED_BYTES,
    };
  });
}

/** Divides keys into groups whose values fit into memory together. */
function* groups(keys: readonly DescribedKey[]): Generator<DescribedKey[]> {
  let group: DescribedKey[] = [];
  let bytes = 0;
  for (const key of keys) {
    const own = key.bytes > MAX_VALUE_BYTES ? 0 : key.bytes;
    if (group.length > 0 && bytes + own > GROUP_BYTES) {
      yield group;
      [group, bytes] = [[], 0];
    }
    group.push(key);
    bytes += own;
  }
  if (group.length > 0) yield group;
}

/** How a type of values is read, and how the answer becomes a document. */
interface TypeReader {
  readonly command: (key: Buffer) => readonly [name: string, ...args: (string | Buffer)[]];
  readonly value: (answer: never) => KeyValue["value"];
}

const READERS: Readonly<Record<string, TypeReader>> = {
  string: { command: (key) => ["GET", key], value: (answer: Buffer) => answer },
  hash: { command: (key) => ["HGETALL", key], value: hashValue },
  list: {
    command: (key) => ["LRANGE", key, "0", "-1"],
    value: (answer: Buffer[]) => jsonOf(answer.map((one) => stringOf(one))),
  },
  // The order of a set has no meaning, and may differ between two readings.
  set: {
    command: (key) => ["SMEMBERS", key],
    value: (answer: Buffer[]) => jsonOf(answer.toSorted(Buffer.compare).map((one) => stringOf(one))),
  },
  zset: { command: (key) => ["ZRANGE", key, "0", "-1", "WITHSCORES"], value: scoredValue },
};

async function readGroup(redis: Redis, group: readonly DescribedKey[]): Promise<KeyValue[]> {
  const readable = group.filter(
    ({ type, bytes }) => Object.hasOwn(READERS, type) && bytes <= MAX_VALUE_BYTES,
  );
  const pipeline = redis.pipeline();
  for (const { key, type } of readable) {
    const [name = "", ...args] = READERS[type]?.command(key) ?? [];
    pipeline.callBuffer(String(name), ...args);
  }
  // A key whose type has changed since then is an error of this key only.
  const answers = await results(pipeline.exec(), { mayFail: () => true });
  const values = new Map(readable.map((one, at) => [one, answers[at]]));
  return group.flatMap((one) => {
    const { key, type, bytes, expires } = one;
    const answer = values.get(one);
    // The key was removed since it was found.
    if (type === "none" || answer === null || (Array.isArray(answer) && answer.length === 0)) return [];
    return [
      {
        key,
        expires,
        value: refusalOf(type, bytes, answer) ?? READERS[type]?.value(answer as never) ?? Buffer.alloc(0),
      },
    ];
  });
}

function refusalOf(type: string, bytes: number, answer: unknown): ImportRefusal | undefined {
  if (!Object.hasOwn(READERS, type)) {
    return { code: "TX_INVALID", message: `A value of the type ${type} has no counterpart in JSON.` };
  }
  if (bytes > MAX_VALUE_BYTES) {
    return { code: "TX_TOO_LARGE", message: `The value takes ${formatBytes(bytes)} in Redis.` };
  }
  return answer instanceof Error ? { code: "TX_INVALID", message: `${answer.message}.` } : undefined;
}

/** Returns a hash as an object, with its fields in order. */
function hashValue(answer: readonly Buffer[]): KeyValue["value"] {
  const entries: [string, unknown][] = [];
  for (let at = 0; at + 1 < answer.length; at += 2) {
    const [field = Buffer.alloc(0), value = Buffer.alloc(0)] = answer.slice(at, at + 2);
    const name = stringOf(field);
    if (typeof name !== "string") {
      return { code: "TX_INVALID", message: "The hash has a field whose name is not valid UTF-8." };
    }
    entries.push([name, stringOf(value)]);
  }
  return jsonOf(Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1))));
}

/** Returns a sorted set in its order. JSON has no infinite numbers, so these scores are text. */
function scoredValue(answer: readonly Buffer[]): KeyValue["value"] {
  const members: object[] = [];
  for (let at = 0; at + 1 < answer.length; at += 2) {
    const [member = Buffer.alloc(0), score] = answer.slice(at, at + 2);
    const number = Number(score);
    members.push({ member: stringOf(member), score: Number.isFinite(number) ? number : String(score) });
  }
  return jsonOf(members);
}

function jsonOf(value: unknown): { json: string } {
  return { json: JSON.stringify(value) };
}

/** Returns the answers of a pipeline. An answer that may fail is returned as its error. */
async function results(
  executed: Promise<[error: Error | null, result: unknown][] | null>,
  { mayFail }: { readonly mayFail: (at: number) => boolean },
): Promise<unknown[]> {
  return ((await executed) ?? []).map(([error, result], at) => {
    if (error === null) return result;
    // Errors of the connection concern every command.
    if (!mayFail(at) || error.name !== "ReplyError") throw error;
    return error;
  });
}
