import { type Clock, type KvStore, memoryProvider } from "@cairn/kv";
import { type ManualClock, manualClock } from "@cairn/checkpoint/testing";
import type { Chains, NodeStatus, Transaction } from "@cairn/client";
import { pino } from "pino";
import type { PastDifference } from "../../src/checkpoints/compare-past.ts";
import { PeerServer } from "../../src/cluster/peer-server.ts";
import { emptyState } from "../../src/index/rows/index-state.ts";
import { IndexStore } from "../../src/index/index-store.ts";
import { documentRowKey } from "../../src/index/rows/row-keys.ts";
import type { PeerChannel, SendAnswer } from "../../src/log/peer-channel.ts";
import type { LogMessage, TxLog } from "../../src/log/tx-log.ts";
import { OnePast } from "../../src/cluster/one-past.ts";
import { encodeBirthRecord, encodeTransaction } from "../../src/transactions/transaction-codec.ts";
import { seededRandom } from "@cairn/test-support/nodes/seeded-log";
import { MemoryNode } from "@cairn/test-support/nodes/memory-node";

const LOG = "log-1";
const birth = { log: LOG, offset: 0 };
const identity = { id: LOG, name: "cairn", bounds: { first: 1, last: 1 }, birth };
const STEP_MS = 250;
const ANSWERS_MS = 2_000;
/** The share of requests and responses that are lost. */
const LOST = 0.05;
const logger = pino({ level: "silent" });

/**
 * Nodes of one log in virtual time. Indexes, peer servers and comparisons are real; the log and the network are lists.
 */
export class SimulatedCluster {
  readonly clock: ManualClock = manualClock();
  readonly random: () => number;
  readonly reach: "network" | { readonly lookEveryMs: number };
  readonly messages: LogMessage[] = [];
  readonly nodes: SimulatedNode[] = [];
  readonly working = new Set<Promise<unknown>>();
  /** The newest checkpoint in the store that the nodes share: its log, node and chains. */
  saved: { readonly node: string; readonly chains: Chains } | undefined;
  /** The maximum number of nodes that compared themselves with a rebuild at the same time. */
  mostChecking = 0;

  /**
   * `reach` determines how the nodes learn about each other. For a store, it is the approximate interval (ms) at which
   * each of them looks at the store.
   */
  constructor(count: number, seed: number, reach: SimulatedCluster["reach"] = "network") {
    this.reach = reach;
    this.random = seededRandom(seed);
    this.append(encodeBirthRecord(birth));
    for (let n = 0; n < count; n += 1) this.nodes.push(new SimulatedNode(this, `node-${n}`));
  }

  append(payload: Uint8Array): void {
    const position = this.messages.length + 1;
    const nanoseconds = Math.floor(this.random() * 1e6);
    this.messages.push({ position, time: this.clock.now(), nanoseconds, payload });
  }

  /** Writes a transaction. Every third transaction reads the write of another one. */
  write(): void {
    const key = `default/k${Math.floor(this.random() * 20)}`;
    const put: Transaction["ops"][number] = ["put", "things", key, this.messages.length];
    const match: Transaction["ops"][number] = ["match", "things", key, null];
    this.append(encodeTransaction({ ops: this.random() < 0.3 ? [match, put] : [put] }, LOG));
  }

  async start(): Promise<void> {
    for (const node of this.nodes) await node.open();
  }

  /** Advances virtual time until `done` returns true, by at most `ms`. Returns the time that has passed. */
  async run(ms: number, done: () => boolean = () => false): Promise<number> {
    const begun = this.clock.now();
    while (this.clock.now() - begun < ms && !done()) {
      if (this.random() < 0.5) this.write();
      for (const node of this.nodes) {
        if (this.random() < 0.7) this.track(node.apply());
        if (this.reach === "network" || this.clock.now() < node.nextLook) continue;
        node.nextLook = this.clock.now() + this.reach.lookEveryMs * (0.9 + 0.2 * this.random());
        this.track(node.look());
      }
      this.clock.advance(STEP_MS);
      await this.#settled();
      const checking = this.nodes.filter(({ checking: isChecking }) => isChecking).length;
      this.mostChecking = Math.max(this.mostChecking, checking);
    }
    return this.clock.now() - begun;
  }

  track<T>(work: Promise<T>): Promise<T> {
    this.working.add(work);
    void work.finally(() => this.working.delete(work)).catch(() => {});
    return work;
  }

  /** Waits until everything that does not wait for virtual time has finished. */
  async #settled(): Promise<void> {
    for (let turn = 0; turn < 4 || this.working.size > 0; turn += 1) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async close(): Promise<void> {
    const closed = this.nodes.map((node) => node.close());
    for (let turn = 0; turn < 100; turn += 1) {
      this.clock.advance(STEP_MS);
      await this.#settled();
    }
    await Promise.all(closed);
  }

  /** Returns a channel that sends `bytes` to every other node. Some messages are lost. */
  channel(of: SimulatedNode): PeerChannel {
    return {
      address: "simulated",
      maxAnswerBytes: Infinity,
      serve: (answer) => {
        of.serving = answer;
        return () => {
          of.serving = undefined;
        };
      },
      ask: (question) => this.#ask(of, question),
    };
  }

  async *#ask(from: SimulatedNode, question: Uint8Array): AsyncGenerator<Uint8Array> {
    const answers: Uint8Array[] = [];
    for (const node of this.nodes) {
      if (node === from || this.random() < LOST) continue;
      node.serving?.(question, (answer) => {
        if (this.random() >= LOST) answers.push(answer);
      });
    }
    await this.clock.wait(ANSWERS_MS);
    yield* answers;
  }
}

/** A node of a {@link SimulatedCluster}. */
export class SimulatedNode {
  readonly id: string;
  serving: ((question: Uint8Array, send: SendAnswer) => void) | undefined;
  /** The differences reported to the node. */
  readonly told: PastDifference[] = [];
  replaced = 0;
  checking = false;
  nextLook = 0;
  /** The position of a message that this node alone reads as a different one. */
  forked: LogMessage | undefined;
  readonly #cluster: SimulatedCluster;
  readonly #past: OnePast;
  readonly #server: PeerServer;
  readonly #life;
  #kv: KvStore | undefined;
  #applying: Promise<void> = Promise.resolve();

  constructor(cluster: SimulatedCluster, id: string) {
    this.id = id;
    this.#cluster = cluster;
    const { clock, random } = cluster;
    const log = { peers: cluster.reach === "network" ? cluster.channel(this) : undefined } as TxLog;
    this.#life = {
      index: undefined as IndexStore | undefined,
      agrees: true,
      phase: "ready" as const,
      log,
      suspect: () => {},
      halt: () => {},
      position: {
        txId: 0,
        reached: async (txId: number) => await this.#reached(txId),
        set: () => {},
      } as never,
    };
    this.#server = new PeerServer(
      id,
      {
        status: async () => await this.#status(),
        reached: () => Promise.resolve(),
        digestAt: () => Promise.reject(new Error("not asked here")),
        check: () => Promise.reject(new Error("not asked here")),
        compare: async ({ node, log: of, chains }) => await this.#past.compare(node, of, chains),
      },
      logger,
    );
    // Among equals, the order of the instances decides which node rebuilds first.
    Object.assign(this.#server.identity, { instance: random().toString(36) });
    this.#past = new OnePast({
      life: this.#life,
      check: { check: async (_log, txId) => await this.#check(txId) },
      node: id,
      instance: this.#server.identity.instance,
      logger,
      clock: watched(clock),
      random,
    });
    this.#server.listen(log);
    const { comparePast } = this.#past;
    Object.assign(this.#past, {
      comparePast: async (other: Parameters<typeof comparePast>[0]) => {
        const difference = await comparePast(other);
        if (difference !== undefined) this.told.push(difference);
        return difference;
      },
    });
  }

  get divergence(): OnePast["divergence"] {
    return this.#past.divergence;
  }

  async open(): Promise<void> {
    await this.#use();
    this.#past.start();
  }

  /** Applies some of the missing messages. Calls run one after another. */
  async apply(): Promise<void> {
    const before = this.#applying;
    const applied = (async () => {
      await before;
      const { index } = this.#life;
      if (index === undefined) return;
      const { txId } = index.state;
      const most = 1 + Math.floor(this.#cluster.random() * 8);
      const next = this.#cluster.messages.slice(txId, txId + most);
      if (next.length > 0) await index.apply(next.map((message) => this.#asRead(message)));
    })();
    this.#applying = applied;
    await applied;
  }

  /** Looks at the store as a round does: compares the chains, and saves its index if it is correct. */
  async look(): Promise<void> {
    const { saved } = this.#cluster;
    const { index } = this.#life;
    if (index === undefined) return;
    if (saved !== undefined) {
      const { node, chains } = saved;
      const other = { who: `a checkpoint of ${node}`, isStored: true, log: LOG, chains };
      const difference = await this.#past.comparePast(other);
      if (difference?.settled === false) return;
    }
    this.#cluster.saved = { node: this.id, chains: await index.chains() };
  }

  get txId(): number {
    return this.#life.index?.state.txId ?? 0;
  }

  /** Removes a document's row, like damage that hides it. Returns false if there is no such document. */
  async hide(key: string): Promise<boolean> {
    const rowKey = documentRowKey("things", key);
    if (this.#kv === undefined || (await this.#kv.get(rowKey)) === undefined) return false;
    await this.#kv.batch([{ type: "del", key: rowKey }]);
    return true;
  }

  /** Returns whether its history equals the history of an index that is built from the current log. */
  async isRight(): Promise<boolean> {
    const { index } = await this.#rebuilt(this.txId);
    const [own, right] = [await this.#life.index?.chains(), await index.chains()];
    return JSON.stringify(own) === JSON.stringify(right);
  }

  async close(): Promise<void> {
    await Promise.all([this.#past.close(), this.#server.close()]);
  }

  async #status(): Promise<NodeStatus> {
    const status = await new MemoryNode().status();
    return { ...status, index: { ...status.index, divergence: this.#past.divergence } };
  }

  #asRead(message: LogMessage): LogMessage {
    return message.position === this.forked?.position ? this.forked : message;
  }

  async #reached(txId: number): Promise<void> {
    while (this.txId < txId) await this.#cluster.clock.wait(STEP_MS);
  }

  async #check(txId: number) {
    this.checking = true;
    // A rebuild takes some time.
    await this.#cluster.clock.wait(1_000 + 4_000 * this.#cluster.random());
    const own = await this.#life.index?.chainsAt(txId);
    const rebuilt = await this.#cluster.track(this.#rebuilt(txId));
    const right = await rebuilt.index.chainsAt(txId);
    const agrees = JSON.stringify(own) === JSON.stringify(right);
    if (!agrees) {
      this.forked = undefined;
      this.replaced += 1;
      this.#kv = rebuilt.kv;
      this.#life.index = rebuilt.index;
    }
    this.checking = false;
    return { txId, digest: "", rebuilt: "", basis: "the log", agrees };
  }

  async #rebuilt(txId: number): Promise<{ kv: KvStore; index: IndexStore }> {
    const kv = await memoryProvider().open("/nonexistent/in-memory");
    const index = await IndexStore.open(kv, emptyState(identity));
    await index.apply(this.#cluster.messages.slice(0, txId));
    return { kv, index };
  }

  async #use(): Promise<void> {
    const { kv, index } = await this.#rebuilt(1);
    this.#kv = kv;
    this.#life.index = index;
  }
}

/** Returns the clock without the methods that only a simulation uses. */
function watched({ now, wait }: ManualClock): Clock {
  return { now, wait };
}
