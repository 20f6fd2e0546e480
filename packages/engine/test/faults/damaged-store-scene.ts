import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type CheckpointStore, filesystemStore } from "@cairn/checkpoint";
import { levelProvider } from "@cairn/kv";
import { digestIndex } from "../../src/index/read/digest.ts";
import { openIndex } from "../../src/index/local-index.ts";
import type { CairnNode } from "../../src/node/node.ts";
import { runNode } from "@cairn/node";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

const CHECKPOINTS = 3;
const TRANSACTIONS = 15;
const KEPT = "kept.txt";

/** A log and a store with its checkpoints. They are created once, and each seed damages a copy. */
export class PristineStore {
  /** The digest of the log at the transaction of each checkpoint, and at the log's end. */
  readonly digests = new Map<number, string>();
  readonly folder: string;
  lastTxId = 0;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async make(): Promise<PristineStore> {
    const pristine = new PristineStore(await mkdtemp(path.join(tmpdir(), "cairn-pristine-")));
    const { folder, digests } = pristine;
    const node = await startOver(folder, "first", "log");
    await node.ready;
    for (let n = 0; n <= CHECKPOINTS; n += 1) {
      await putSome(node, n);
      if (n < CHECKPOINTS) await saveCheckpoint(node);
      const { txId, digest } = await node.digest();
      digests.set(txId, digest);
      pristine.lastTxId = txId;
    }
    const verified = [...digests.keys()].at(1);
    await node.verifyCheckpoint();
    await node.close();
    await cp(path.join(folder, "log"), path.join(folder, "trimmed-log"), { recursive: true });
    const log = await openEmbeddedTxLog({ path: path.join(folder, "trimmed-log") });
    await log.trim?.(verified ?? 1);
    await log.close();
    return pristine;
  }

  async close(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** The files that one seed damages and examines: copies of the logs and the store, and a folder that nothing may touch. */
export class DamagedStoreScene {
  readonly folder: string;
  readonly store: CheckpointStore;
  readonly storeFolder: string;
  readonly outside: string;

  private constructor(folder: string) {
    this.folder = folder;
    this.storeFolder = path.join(folder, "checkpoints");
    this.store = filesystemStore({ path: this.storeFolder });
    this.outside = path.join(folder, "outside");
  }

  static async copyOf({ folder: pristine }: PristineStore): Promise<DamagedStoreScene> {
    const scene = new DamagedStoreScene(await mkdtemp(path.join(tmpdir(), "cairn-damaged-")));
    for (const name of ["checkpoints", "log", "trimmed-log"]) {
      await cp(path.join(pristine, name), path.join(scene.folder, name), { recursive: true });
    }
    await mkdir(scene.outside);
    await writeFile(path.join(scene.outside, KEPT), KEPT);
    return scene;
  }

  /** Starts a new node on the damaged store. */
  async join(id: string, log: "log" | "trimmed-log"): Promise<CairnNode> {
    return await startOver(this.folder, id, log);
  }

  /** Returns the digest of an index in a folder of this scene. */
  async digestOf(name: string): Promise<{ txId: number; digest: string } | undefined> {
    const { kv } = await openIndex(levelProvider(), path.join(this.folder, name));
    try {
      return await digestIndex(kv);
    } finally {
      await kv.close();
    }
  }

  /**
   * Lists the entries of the folder other than the logs, the store and the nodes, and the content of the outside folder
   * if it has changed.
   */
  async strays(): Promise<string[]> {
    const own = new Set(["checkpoints", "log", "trimmed-log", "outside", "staging"]);
    const beside = (await readdir(this.folder)).filter((name) => !own.has(name) && !name.startsWith("own-"));
    const outside = (await readdir(this.outside)).filter((name) => name !== KEPT);
    const kept = await readFile(path.join(this.outside, KEPT), "utf8");
    return [...beside, ...outside, ...(kept === KEPT ? [] : [`${KEPT}: ${kept}`])];
  }

  /** Returns the names of unfinished files in the store. */
  async unfinished(): Promise<string[]> {
    return (await readdir(this.storeFolder)).filter((name) => name.startsWith(".tmp-")).toSorted();
  }

  async close(): Promise<void> {
    await this.store.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Submits a few transactions with distinct documents. */
export async function putSome(node: CairnNode, round: number): Promise<void> {
  const text = `round ${round} `.repeat(40);
  const submitted = Array.from({ length: TRANSACTIONS }, (_, n) =>
    node.submit({ ops: [["put", "things", `default/k${n % 10}`, { text, n }]] }),
  );
  const last = (await Promise.all(submitted)).at(-1);
  if (last !== undefined) await node.await(last.txId);
}

async function startOver(folder: string, id: string, log: string): Promise<CairnNode> {
  const openTxLog = () => openEmbeddedTxLog({ path: path.join(folder, log) });
  return await runNode(quietSystem({ folder, nodeId: `own-${id}`, openTxLog }));
}
