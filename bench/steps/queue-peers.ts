import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Figures } from "../harness/figures.ts";
import { RedisConnection } from "../harness/redis.ts";

/** The number of entries to put and finish, and how many callers do so at once. */
export interface QueueLoad {
  readonly entries: number;
  readonly atOnce: number;
}

/** The document of an open entry. */
export const OPEN_ENTRY = { state: "open", text: "x".repeat(280) } as const;
const SQLITE_QUEUE = fileURLToPath(new URL("../../peers/sqlite-queue.py", import.meta.url));
const WAIT_S = "0.1";

/**
 * Puts entries into a list of Redis, moves each to a list of its worker, and removes it from there, which is how
 * entries survive workers that crash.
 */
export async function queueInRedis({
  port,
  entries,
  atOnce,
}: QueueLoad & { readonly port: number }): Promise<Figures> {
  const open = (): Promise<RedisConnection[]> =>
    Promise.all(Array.from({ length: atOnce }, () => RedisConnection.open(port)));
  const [producers, workers] = [await open(), await open()];
  const queue = `queue-${Date.now()}`;
  const document = JSON.stringify(OPEN_ENTRY);
  const begin = performance.now();
  let [put, finished] = [0, 0];
  const produce = async (producer: RedisConnection): Promise<void> => {
    while (put < entries) {
      put += 1;
      await producer.send("LPUSH", queue, document);
    }
  };
  const work = async (worker: RedisConnection, number: number): Promise<void> => {
    const mine = `${queue}-${number}`;
    while (finished < entries) {
      const entry = await worker.send("BLMOVE", queue, mine, "RIGHT", "LEFT", WAIT_S);
      if (entry === null) continue;
      await worker.send("LPOP", mine);
      finished += 1;
    }
  };
  const working = workers.map(work);
  await Promise.all(producers.map(produce));
  await Promise.race(working);
  const seconds = (performance.now() - begin) / 1_000;
  await Promise.all(working);
  for (const connection of [...producers, ...workers]) connection.close();
  return { "entries/s": entries / seconds };
}

/** Puts entries into a table of SQLite and finishes them, in a process of Python, whose library it is. */
export function queueInSqlite({
  file,
  entries,
  atOnce,
}: QueueLoad & { readonly file: string }): Promise<Figures> {
  const args = [SQLITE_QUEUE, file, String(entries), String(atOnce)];
  const { status, stdout, stderr } = spawnSync("python3", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`the queue in SQLite failed: ${stderr}`);
  return Promise.resolve({ "entries/s": entries / Number(stdout) });
}
