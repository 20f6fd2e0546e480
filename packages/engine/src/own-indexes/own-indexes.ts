import { CairnError, type KvProvider } from "@cairn/kv";
import type { OwnIndexStatus, TxId } from "@cairn/client";
import { didYouMean, nearestName } from "@cairn/text";
import type { Logger } from "pino";
import path from "node:path";
import type { IndexStore } from "../index/index-store.ts";
import { KeptIndex } from "./kept-index.ts";
import type { OwnIndexOptions, ServedIndex } from "./own-index.ts";

export interface OwnIndexesParts {
  readonly indexes: readonly OwnIndexOptions[];
  /** The folder of all indexes of one's own. */
  readonly dir: string;
  readonly index: IndexStore;
  readonly provider: KvProvider;
  readonly logger: Logger;
  readonly suspect: (error: unknown) => void;
}

/** All indexes of one's own, as long as the node follows its log with one index. */
export class OwnIndexes {
  readonly #kept: readonly KeptIndex[];
  readonly #waits: readonly KeptIndex[];

  constructor({ indexes, dir, ...parts }: OwnIndexesParts) {
    this.#kept = indexes.map((options) => {
      return new KeptIndex({ ...parts, options, dir: path.join(dir, options.name) });
    });
    this.#waits = this.#kept.filter((_, at) => indexes[at]?.ready === "waits");
    for (const kept of this.#kept) kept.start();
  }

  get status(): readonly OwnIndexStatus[] {
    return this.#kept.map(({ status }) => status);
  }

  /** Resolves once those that the node waits for are live or have failed. */
  async settled(): Promise<void> {
    await Promise.all(this.#waits.map(({ settled }) => settled));
  }

  /** Returns the build that answers queries. Throws `NOT_FOUND`, `NOT_READY` or `OWN_INDEX_FAILED`. */
  served(name: string): ServedIndex {
    return this.#named(name).served();
  }

  /** Waits until an index contains `txId`. Throws `TX_TIMEOUT`. */
  async reached(name: string, txId: TxId, timeoutMs: number): Promise<void> {
    await this.#named(name).position.reached(txId, timeoutMs);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#kept.map((kept) => kept.stop()));
  }

  #named(name: string): KeptIndex {
    const found = this.#kept.find((kept) => kept.name === name);
    if (found !== undefined) return found;
    const names = this.#kept.map((kept) => kept.name);
    const near = nearestName(name, names);
    const known = names.length === 0 ? "This node has none." : `Known: ${names.join(", ")}.`;
    throw new CairnError(
      "NOT_FOUND",
      `There is no index ${name}.`,
      near === undefined
        ? `${known} cairn/indexes in the configuration of a node defines them.`
        : didYouMean(near),
    );
  }
}
