import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { NodeStatus } from "@cairn/client";
import type { KvProvider, KvStore } from "@cairn/kv";
import { readState } from "../../src/index/rows/index-state.ts";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import type { LogMessage, TxLog } from "../../src/log/tx-log.ts";
import type { CairnNode } from "../../src/node/node.ts";
import { runNode } from "@cairn/node";
import { takeMessages } from "../../testing/log-messages.ts";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { LOG_FOLDER } from "./crash-machine.ts";

const POLL_MS = 1;
const PATIENCE_MS = 60_000;

/**
 * What {@link CrashNode.start} starts: the folder, the database of the index, and what the node does if the log has
 * lost its end.
 */
export interface CrashNodeParts {
  readonly folder: string;
  readonly id: string;
  readonly provider: KvProvider;
  readonly regressed: "rebuild" | "halt";
}

/** A node on an embedded log, with its log and its index. */
export class CrashNode {
  readonly node: CairnNode;
  readonly #parts: OpenedParts;

  private constructor(node: CairnNode, parts: OpenedParts) {
    this.node = node;
    this.#parts = parts;
  }

  static async start({ folder, id, provider, regressed }: CrashNodeParts): Promise<CrashNode> {
    const parts: OpenedParts = { log: undefined, kv: undefined, found: undefined };
    const system = quietSystem({
      folder,
      nodeId: id,
      openTxLog: async () => {
        parts.log = await openEmbeddedTxLog({ path: path.join(folder, LOG_FOLDER) });
        return parts.log;
      },
    });
    const open: KvProvider["open"] = async (dir, options) => {
      const kv = await provider.open(dir, options);
      // The node also reads the indexes that it has moved aside.
      if (path.basename(path.dirname(path.dirname(dir))) === "quarantine") return kv;
      parts.kv = kv;
      parts.found ??= await foundIn(kv);
      return kv;
    };
    const node = await runNode({
      ...system,
      checkpointer: undefined,
      onLogMismatch: { regressed, different: "halt" },
      kvProvider: { ...provider, open },
    });
    return new CrashNode(node, parts);
  }

  get log(): TxLog {
    if (this.#parts.log === undefined) throw new Error("the log is not open");
    return this.#parts.log;
  }

  get kv(): KvStore {
    if (this.#parts.kv === undefined) throw new Error("the index is not open");
    return this.#parts.kv;
  }

  /** Returns the end of the index that the node found; undefined if it found none that it could open. */
  get found(): FoundIndex | undefined {
    return this.#parts.found;
  }

  /** Resolves when the node is ready or has failed, or when `isOver` returns true. */
  async settled(isOver: () => boolean = () => false): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    while (!["ready", "failed"].includes(this.node.phase) && !isOver()) {
      if (performance.now() > deadline) throw new Error(`the node is still ${this.node.phase}`);
      await delay(POLL_MS);
    }
  }

  async failure(): Promise<NodeStatus["failure"]> {
    return this.node.phase === "failed" ? (await this.node.status()).failure : null;
  }

  /** Returns all messages of the log. */
  async messages(): Promise<readonly LogMessage[]> {
    const { last } = await this.log.bounds();
    if (last === 0) return [];
    return await takeMessages(this.log, 1, last);
  }
}

interface OpenedParts {
  log: TxLog | undefined;
  kv: KvStore | undefined;
  found: FoundIndex | undefined;
}

/** The last transaction of an index and the hash of its message; 0 and no hash if the index is empty. */
export interface FoundIndex {
  readonly txId: number;
  readonly sha256: string | undefined;
}

/** Returns the end of an index. */
export async function foundIn(kv: KvStore): Promise<FoundIndex> {
  const state = await readState(kv);
  return { txId: state?.txId ?? 0, sha256: state?.sha256 };
}
