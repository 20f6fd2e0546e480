import { randomUUID } from "node:crypto";
import { startEtcdIfFound } from "../harness/etcd.ts";
import { type ServerProcess, startNodeIn } from "../harness/node-process.ts";
import { type Contestant, ratioTarget, type Row, type Target } from "../harness/row.ts";

const SECONDS = 5;
const KNOWN_KEYS = 10_000;

const EMBEDDED = "cairn, embedded log";
const OVERWRITING = "cairn, embedded log, overwriting";
const ON_NATS = "cairn, NATS";
const ETCD = "etcd, HTTP gateway";
const PUBLISHED = "NATS, synchronous publish";

/** Writing documents over HTTP until each can be read, compared with etcd and with NATS alone. */
export const writes: Row = {
  name: "writes",
  title: "PUT over HTTP until the document can be read, on 1, 32 and 128 connections",
  async prepare(workspace) {
    const embedded = await startNodeIn(workspace, "writes");
    const { url } = await workspace.natsServer();
    const onNats = await startNodeIn(workspace, "writes", { url, stream: `writes-${randomUUID()}` });
    const etcd = await startEtcdIfFound(workspace);
    const putting = (
      name: string,
      server: ServerProcess,
      connections: number,
      keys?: number,
    ): Contestant => ({
      name: on(name, connections),
      run: () =>
        workspace.run("ask writes", {
          port: server.port,
          connections,
          seconds: SECONDS,
          server: server === etcd ? "etcd" : "cairn",
          ...(keys === undefined ? {} : { keys }),
        }),
    });
    const publishing = (concurrent: number): Contestant => ({
      name: on(PUBLISHED, concurrent),
      run: () =>
        workspace.run("publish steadily", {
          url,
          stream: `writes-${randomUUID()}`,
          concurrent,
          seconds: SECONDS,
        }),
    });
    const contestants = [1, 32, 128].flatMap((connections) => [
      ...(etcd === undefined ? [] : [putting(ETCD, etcd, connections)]),
      putting(EMBEDDED, embedded, connections),
      putting(OVERWRITING, embedded, connections, KNOWN_KEYS),
      putting(ON_NATS, onNats, connections),
      publishing(connections),
    ]);
    return { contestants, targets: etcd === undefined ? [] : BESIDE_ETCD };
  },
};

const TRANSACTION = 100;
const LOADED = 50_000;

/** Submitting transactions of 100 operations over HTTP, and loading a file of transactions. */
export const submit: Row = {
  name: "submit",
  title: `transactions of ${TRANSACTION} puts over HTTP until they can be read, and cairn load of ${LOADED} puts`,
  async prepare(workspace) {
    const embedded = await startNodeIn(workspace, "writes");
    const { url } = await workspace.natsServer();
    const onNats = await startNodeIn(workspace, "writes", { url, stream: `writes-${randomUUID()}` });
    const etcd = await startEtcdIfFound(workspace);
    const submitting = (name: string, server: ServerProcess, connections: number): Contestant => ({
      name: on(name, connections),
      run: () =>
        workspace.run("ask writes", {
          port: server.port,
          connections,
          seconds: SECONDS,
          each: TRANSACTION,
          server: server === etcd ? "etcd" : "cairn",
        }),
    });
    const loading = (name: string, { port }: ServerProcess): Contestant => ({
      name: `cairn load, ${name}`,
      run: () => workspace.run("load lines", { path: workspace.fresh("lines"), port, count: LOADED }),
    });
    const contestants = [1, 32].flatMap((connections) => [
      ...(etcd === undefined ? [] : [submitting(ETCD, etcd, connections)]),
      submitting(EMBEDDED, embedded, connections),
      submitting(ON_NATS, onNats, connections),
    ]);
    contestants.push(loading("embedded log", embedded), loading("NATS", onNats));
    const targets = [1, 32].map((connections) =>
      ratioTarget("tx/s", on(EMBEDDED, connections), on(ETCD, connections)),
    );
    return { contestants, targets: etcd === undefined ? [] : targets };
  },
};

const BESIDE_ETCD: readonly Target[] = [
  ratioTarget("p50, ms", on(EMBEDDED, 1), on(ETCD, 1), { atMost: 1 }),
  ratioTarget("puts/s", on(EMBEDDED, 32), on(ETCD, 32), { atLeast: 1.2 }),
  ratioTarget("p99, ms", on(EMBEDDED, 32), on(ETCD, 32), { atMost: 1 }),
];

function on(name: string, connections: number): string {
  return `${name}, ${connections} at once`;
}
