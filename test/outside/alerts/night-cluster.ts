import { spawnSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort, type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
import { NodeProcess } from "@cairn/test-support/cairn-process";

/** A node on a port of its own, which a restart keeps. */
export class NightNode {
  readonly id: string;
  readonly scheme: "http" | "https";
  readonly address: string;
  readonly folder: string;
  readonly #config: object;
  #process: NodeProcess | undefined;

  private constructor(id: string, folder: string, port: number, config: Readonly<Record<string, object>>) {
    const http = config["cairn/http-server"] ?? {};
    this.id = id;
    this.folder = join(folder, id);
    this.scheme = "tls" in http ? "https" : "http";
    this.address = `127.0.0.1:${port}`;
    this.#config = { ...config, "cairn/http-server": { ...http, port } };
  }

  static async start(
    id: string,
    folder: string,
    config: Readonly<Record<string, object>>,
  ): Promise<NightNode> {
    const node = new NightNode(id, folder, await freePort(), config);
    await mkdir(node.folder, { recursive: true });
    await node.start();
    return node;
  }

  get url(): string {
    return `${this.scheme}://${this.address}`;
  }

  /** Starts the process, and returns when its server listens. */
  async start(): Promise<void> {
    const args = ["--json", "-j", JSON.stringify(this.#config)];
    this.#process = NodeProcess.start({
      id: this.id,
      dir: this.folder,
      args,
      env: { CAIRN_HTTP_PORT: undefined },
    });
    await this.#process.url();
  }

  async ready(): Promise<void> {
    await this.#process?.ready();
  }

  async stop(): Promise<void> {
    await this.#process?.stop();
  }

  async kill(): Promise<void> {
    await this.#process?.kill();
  }

  /** Sends a request that must succeed, and returns its answer. */
  async ask(method: string, path: string, body?: string): Promise<string> {
    const response = await this.send(method, path, body);
    const text = await response.text();
    if (!response.ok) throw new Error(`${this.id}: ${method} ${path}: ${text}`);
    return text;
  }

  async send(method: string, path: string, body?: string): Promise<Response> {
    return await fetch(this.url + path, { method, ...(body === undefined ? {} : { body }) });
  }
}

/** Two nodes on NATS that share a store, one on a small NATS, and one with an embedded log and TLS. */
export interface NightCluster {
  readonly folder: string;
  readonly store: string;
  readonly nats: NatsTestServer;
  readonly smallNats: NatsTestServer;
  readonly pair: readonly [NightNode, NightNode];
  readonly full: NightNode;
  readonly edge: NightNode;
  /** Saves rarely, so that a damaged checkpoint is not replaced at once. */
  readonly still: NightNode;
  readonly nodes: readonly NightNode[];
  close(): Promise<void>;
}

/** Writes a self-signed certificate and its key, which end after `days`, as `cert.pem` and `key.pem`. */
export function certify(folder: string, days: number): void {
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const args = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1"];
  const made = spawnSync("openssl", [...args, "-days", String(days), "-keyout", key, "-out", cert]);
  if (made.status !== 0) throw new Error(`openssl: ${made.error?.message ?? made.stderr.toString()}`);
}

function saving(path: string, every: string): object {
  const store = { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path };
  const checkpointer = {
    "cairn/module": "cairn.checkpoint/->checkpointer",
    store,
    "approx-frequency": every,
    ...(every === "PT5S" && { "verify-every": "PT10S" }),
    "retention-policy": { "retain-at-least": 2 },
    "log-backup": { every: "PT5S" },
  };
  return { "kv-store": { "cairn/module": "cairn.leveldb/->kv-store", checkpointer } };
}

const onNats = ({ url }: NatsTestServer): object => ({
  "cairn/module": "cairn.nats/->tx-log",
  servers: [url],
});

/** Starts the cluster. The folder `small` of its folder is the disk of the node with an embedded log. */
export async function startNightCluster(folder: string): Promise<NightCluster> {
  const limits = join(folder, "nats.conf");
  await writeFile(limits, "jetstream { max_file_store: 3MB }\n");
  const nats = await startNatsServer({ storeDir: join(folder, "nats") });
  const smallNats = await startNatsServer({ args: ["-c", limits] });
  const store = join(folder, "store");
  const shared = { "cairn/tx-log": onNats(nats), "cairn/index-store": saving(store, "PT5S") };
  const tls = { cert: join(folder, "cert.pem"), key: join(folder, "key.pem") };
  certify(folder, 90);
  const [a, b, full, edge, still] = await Promise.all([
    NightNode.start("a", folder, shared),
    NightNode.start("b", folder, shared),
    NightNode.start("full", folder, { "cairn/tx-log": onNats(smallNats) }),
    NightNode.start("edge", join(folder, "small"), { "cairn/http-server": { tls } }),
    NightNode.start("still", folder, {
      "cairn/index-store": saving(join(folder, "still", "store"), "PT1H"),
    }),
  ]);
  const nodes = [a, b, full, edge, still];
  return {
    folder,
    store,
    nats,
    smallNats,
    pair: [a, b],
    full,
    edge,
    still,
    nodes,
    close: async () => {
      await Promise.all(nodes.map((node) => node.kill()));
      await Promise.all([nats.close(), smallNats.close()]);
    },
  };
}
