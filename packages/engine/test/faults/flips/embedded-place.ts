import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Transaction } from "@cairn/client";
import { openEmbeddedTxLog } from "../../../src/log/embedded/embedded-tx-log.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";
import { takeMessages } from "../../../testing/log-messages.ts";
import { chanceOf } from "../odd-values.ts";
import { seededRandom } from "@cairn/test-support/nodes/seeded-log";
import { settled } from "./flip-examination.ts";
import { POLICIES, randomHistory } from "./flip-history.ts";
import type { Acknowledged } from "./flip-oracle.ts";
import type { Subject } from "./flip-subject.ts";
import type { NodeHost } from "./node-host.ts";

const TRANSACTIONS = 90;
const AT_ONCE = 8;
const CHECKPOINTS = "checkpoints";

/** A folder with a node's embedded log, index and checkpoints. */
export class EmbeddedPlace {
  readonly folder: string;
  /** The folders whose files may be damaged, relative to {@link folder}. */
  readonly areas = { index: "a-index/live", log: "a-log", store: CHECKPOINTS } as const;

  constructor(folder: string) {
    this.folder = folder;
  }

  async loseIndex(): Promise<void> {
    await rm(path.join(this.folder, "a-index"), { recursive: true, force: true });
  }

  async close(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** A node's folder before any damage, with the transactions that the node acknowledged. Each seed damages a copy. */
export class PristineNode {
  readonly logId: string;
  readonly acknowledged: readonly Acknowledged[];
  readonly #place: EmbeddedPlace;

  private constructor(place: EmbeddedPlace, logId: string, acknowledged: readonly Acknowledged[]) {
    this.#place = place;
    this.logId = logId;
    this.acknowledged = acknowledged;
  }

  static async make(seed: number, host: NodeHost): Promise<PristineNode> {
    const place = new EmbeddedPlace(await mkdtemp(path.join(tmpdir(), "cairn-pristine-")));
    const chance = chanceOf(seededRandom(seed));
    const history = [POLICIES, ...randomHistory(chance, TRANSACTIONS, "first")];
    const told = new Map<number, Transaction>();
    // The last writes of each run are in tables or in a write-ahead log.
    const lives = 2 + chance.below(2);
    const part = Math.ceil(history.length / lives);
    for (let from = 0; from < history.length; from += part) {
      const node = await host.start(place.folder);
      await settled(node);
      await submitAll(node, history.slice(from, from + part), told);
      await node.checkpoint();
      if (chance.next() < 0.5) await submitAll(node, randomHistory(chance, 5, `life-${from}`), told);
      await node.stop();
    }
    // A restart moves the rows that the last run left in a write-ahead log into a table.
    if (chance.next() < 0.5) await (await host.start(place.folder)).stop();
    const messages = await messagesOf(path.join(place.folder, place.areas.log), told.size + 1);
    const { id } = messages;
    const acknowledged = messages.found.slice(1).map(({ position, time }) => {
      const transaction = told.get(position);
      if (transaction === undefined) throw new Error(`No client received ${position}.`);
      return { txId: position, transaction, time };
    });
    return new PristineNode(place, id, acknowledged);
  }

  async copy(): Promise<EmbeddedPlace> {
    const place = new EmbeddedPlace(await mkdtemp(path.join(tmpdir(), "cairn-flips-")));
    await cp(this.#place.folder, place.folder, { recursive: true });
    return place;
  }

  async close(): Promise<void> {
    await this.#place.close();
  }
}

/** Leaves a mark, a lease and a reservation in the store, like a node that was killed while it saved or restored. */
export async function leaveRecords(folder: string, forMs: number): Promise<void> {
  const store = path.join(folder, CHECKPOINTS);
  const expiresAt = new Date(Date.now() + forMs).toISOString();
  const lease = { owner: "a", nonce: "00112233", progress: { bytes: 1 }, expiresAt };
  const [manifest = ""] = (await readdir(store)).filter((name) =>
    /^checkpoint-.*Z-[0-9a-f]{8}\.json$/.test(name),
  );
  const { log } = JSON.parse(await readFile(path.join(store, manifest), "utf8")) as { log: { id: string } };
  await writeFile(path.join(store, `in-progress-${log.id}.json`), JSON.stringify(lease));
  const reservation = { checkpoint: path.basename(manifest, ".json"), node: "b", expiresAt };
  await mkdir(path.join(store, "reservations"), { recursive: true });
  await writeFile(path.join(store, "reservations", "0123456789abcdef.json"), JSON.stringify(reservation));
}

async function submitAll(
  node: Subject,
  transactions: readonly Transaction[],
  told: Map<number, Transaction>,
): Promise<void> {
  for (let from = 0; from < transactions.length; from += AT_ONCE) {
    const some = transactions.slice(from, from + AT_ONCE);
    const submitted = await Promise.all(some.map(async (one) => (await node.submit(one)).txId));
    for (const [index, txId] of submitted.entries()) {
      const transaction = some[index];
      if (transaction !== undefined) told.set(txId, transaction);
    }
  }
}

async function messagesOf(folder: string, count: number): Promise<{ id: string; found: LogMessage[] }> {
  const log = await openEmbeddedTxLog({ path: folder });
  try {
    return { id: (await log.id()) ?? "", found: await takeMessages(log, 1, count) };
  } finally {
    await log.close();
  }
}
