import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cp, open, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import type { NatsTestServer } from "@cairn/log-nats/testing";
import { createCheckpoint } from "@cairn/test-support/cairn-process";
import { connect, type NatsConnection } from "nats";
import { debianProgram } from "../debian-program.ts";
import type { NightNode } from "./night-node.ts";

function mount(...args: readonly string[]): void {
  const { status, stderr } = spawnSync(args[0] ?? "", args.slice(1), { encoding: "utf8" });
  if (status !== 0) throw new Error(`${args.join(" ")}, which needs root: ${stderr}`);
}

/** Mounts a small disk, or changes its size. */
export function setDisk(path: string, megabytes: number, isMounted: boolean): void {
  mount("mount", "-t", "tmpfs", "-o", `${isMounted ? "remount," : ""}size=${megabytes}m`, "tmpfs", path);
}

/** Keeps a file from being removed, until the returned function is called. */
export function keepFile(path: string): () => void {
  mount("mount", "--bind", path, path);
  return () => mount("umount", path);
}

/** Fills a disk, until the returned function is called. */
export async function fillDisk(folder: string): Promise<() => Promise<void>> {
  const path = join(folder, "filler");
  spawnSync("dd", ["if=/dev/zero", `of=${path}`, "bs=64k"]);
  return async () => await rm(path);
}

/** Writes a self-signed certificate and its key, which end after `days`, as `cert.pem` and `key.pem`. */
export function certify(folder: string, days: number): void {
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const args = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1"];
  const made = spawnSync("openssl", [...args, "-days", String(days), "-keyout", key, "-out", cert]);
  if (made.status !== 0) throw new Error(`openssl: ${made.error?.message ?? made.stderr.toString()}`);
}

/** Returns the files of a folder whose names end like this, oldest first. */
export async function oldestFirst(folder: string, ending: string): Promise<string[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(ending));
  const aged = await Promise.all(
    names.map(async (name) => ({
      path: join(folder, name),
      age: (await stat(join(folder, name))).mtimeMs,
    })),
  );
  return aged.toSorted((x, y) => x.age - y.age).map(({ path }) => path);
}

/** Returns the folder of the log's backup in a store, and the log's id. */
export async function backupIn(store: string): Promise<{ folder: string; logId: string }> {
  const name = (await readdir(store)).find((one) => one.startsWith("log-")) ?? "";
  return { folder: join(store, name), logId: name.slice("log-".length) };
}

export async function save(node: NightNode): Promise<void> {
  await node.ask("PUT", "/api/v1/things/saved", "1");
  await createCheckpoint(node.url);
}

/** Overwrites the middle third of a file. */
export async function damage(path: string): Promise<void> {
  const file = await open(path, "r+");
  const third = Math.floor((await file.stat()).size / 3);
  await file.write(Buffer.alloc(third, 0xff), 0, third, third);
  await file.close();
}

/** Does something about each second, even if it fails, until it is stopped. */
export class Repeated {
  readonly #over = new AbortController();
  readonly #done: Promise<void>;

  constructor(work: (n: number) => Promise<unknown>, everyMs = 1_000) {
    this.#done = this.#repeat(work, everyMs);
  }

  async stop(): Promise<void> {
    this.#over.abort();
    await this.#done;
  }

  async #repeat(work: (n: number) => Promise<unknown>, everyMs: number): Promise<void> {
    for (let n = 0; !this.#over.signal.aborted; n += 1) {
      await work(n).catch(() => {});
      await delay(everyMs);
    }
  }
}

/** Documents that are written all the time, so that there is something to save. */
export function steadyWrites(nodes: readonly NightNode[]): Repeated {
  return new Repeated(async (n) => {
    for (const node of nodes) {
      const path = `/api/v1/things/k${n % 100}?timeout=PT1S`;
      await node
        .send("PUT", path, `{"n": ${n}}`)
        .then((answer) => answer.text())
        .catch(() => {});
    }
  }, 500);
}

/** Holds the leases of checkpoints and of the log's backup, as a node that hangs while it saves. */
export async function holdLeases(store: string): Promise<Repeated> {
  const { folder, logId } = await backupIn(store);
  return new Repeated(async () => {
    const expiresAt = new Date(Date.now() + 60_000).toISOString();
    const lease = JSON.stringify({ owner: "hung", nonce: "hung", progress: { bytes: 0 }, expiresAt });
    await writeFile(join(store, `in-progress-${logId}.json`), lease);
    await writeFile(join(folder, "in-progress.json"), JSON.stringify({ node: "hung" }));
  });
}

/** Keeps the present content of a NATS server, which the returned function restores. */
export async function keepMessages(server: NatsTestServer): Promise<() => Promise<void>> {
  const kept = `${server.storeDir}.kept`;
  await server.kill();
  await cp(server.storeDir, kept, { recursive: true });
  await server.start();
  return async () => {
    await server.kill();
    await rm(server.storeDir, { recursive: true });
    await rename(kept, server.storeDir);
    await server.start();
  };
}

/** Delays each call of this kind by a process for a file by 100 seconds, until the returned function is called. */
export async function slowCalls(pid: number, call: string, path: string): Promise<() => Promise<void>> {
  const strace = await debianProgram("strace", ["strace"]);
  const slow = ["-e", `trace=${call}`, "-e", `inject=${call}:delay_enter=100000000`];
  const args = ["-f", "-p", String(pid), "-P", path, ...slow, "-o", "/dev/null"];
  const tracer = spawn(strace.path, args, { env: strace.env, stdio: ["ignore", "ignore", "pipe"] });
  const [line] = (await once(createInterface({ input: tracer.stderr }), "line")) as [string];
  if (!line.includes("attached")) throw new Error(line);
  return async () => {
    const exited = once(tracer, "exit");
    tracer.kill("SIGINT");
    await exited;
  };
}

interface Chains {
  readonly log: { readonly id: string };
  readonly index: { readonly version: number; readonly chains: readonly { readonly history: string }[] };
}

/** Announces another history of a node's log to it, until the returned function is called. */
export async function otherHistory(node: NightNode, server: NatsTestServer): Promise<() => Promise<void>> {
  const subject = "_CAIRN.nodes.cairn";
  const ghost = { cairn: 1, node: "ghost", instance: "ghost" };
  const claim = async (history?: string): Promise<object> => {
    const { log, index } = JSON.parse(await node.ask("GET", "/status")) as Chains;
    const values = index.chains.map((one) => ({ ...one, ...(history !== undefined && { history }) }));
    return { ...ghost, log: log.id, chains: values };
  };
  const compare = (client: NatsConnection, claimed: object): void =>
    client.publish(subject, JSON.stringify({ ...claimed, ask: "compare" }), { reply: "ghost" });
  const client = await connect({ servers: server.url });
  const other = await claim("0".repeat(64));
  const place = { host: "ghost", pid: 1, startedAt: new Date().toISOString() };
  client.subscribe(subject, {
    callback: (_error, message) => message.respond(JSON.stringify({ ...other, ...place })),
  });
  const announcing = new Repeated(async () => compare(client, other));
  return async () => {
    await announcing.stop();
    compare(client, await claim());
    await client.drain();
  };
}
