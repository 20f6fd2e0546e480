import { cp, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { copyDirectory } from "../harness/command.ts";
import { runStep } from "../harness/child-step.ts";
import { type NodeChoice, indexDir, nodeConfig } from "./node-config.ts";
import { ownIndexes, type OwnKeeping } from "./own-documents.ts";

/** The part of the documents that is written last, each in a transaction of its own. */
const LAST_PART = 0.1;
const DOCUMENTS_PER_TRANSACTION = 500;

/** A node that contains the documents, with an embedded log. */
export interface DocumentsNode {
  readonly dir: string;
  /** A copy of the node's index, with an own index of a table, before the last documents were written. */
  readonly earlier: string;
  /** The transaction as of which that is. */
  readonly after: number;
  /** The number of transactions since. */
  readonly transactions: number;
}

/** What is needed of the workspace. */
interface Place {
  readonly records: { readonly count: number };
  readonly onProgress: (what: string) => void;
  fresh(name: string): string;
}

/** The nodes that own indexes are measured with. Each is made when a row first needs it. */
export class OwnNodes {
  readonly #workspace: Place;
  readonly #made = new Map<string, Promise<unknown>>();

  constructor(workspace: Place) {
    this.#workspace = workspace;
  }

  /** Returns the node without own indexes. Steps must not change it. */
  documents(): Promise<DocumentsNode> {
    return this.#once("documents", () => this.#makeDocuments());
  }

  /** Returns a node that rows may write to, with an own index that is live, or without. */
  copy(keeping: OwnKeeping | undefined): Promise<string> {
    const kind = keeping === undefined ? "plain" : keeping.text ? "text" : "table";
    return this.#once(kind, async () => {
      const { dir: from } = await this.documents();
      const dir = this.#workspace.fresh(kind);
      await copyDirectory(from, dir);
      this.#workspace.onProgress(`making a node: ${kind}`);
      if (keeping !== undefined)
        await runStep("build own index", { config: ownNodeConfig(dir, { keeping }) });
      return dir;
    });
  }

  /** Returns a store with a checkpoint of such a node, and the size of its archive. */
  checkpoint(
    keeping: OwnKeeping | undefined,
  ): Promise<{ readonly store: string; readonly megabytes: number }> {
    return this.#once(`checkpoint ${keeping?.text}`, async () => {
      const { dir: plain } = await this.documents();
      const dir = keeping === undefined ? plain : await this.copy(keeping);
      const store = this.#workspace.fresh("store");
      const config = ownNodeConfig(dir, { keeping, checkpoints: store });
      const { MB: megabytes = Number.NaN } = await runStep("checkpoint", { config });
      return { store, megabytes };
    });
  }

  #once<T>(name: string, make: () => Promise<T>): Promise<T> {
    const made = (this.#made.get(name) as Promise<T> | undefined) ?? make();
    this.#made.set(name, made);
    return made;
  }

  async #makeDocuments(): Promise<DocumentsNode> {
    const { count } = this.#workspace.records;
    const dir = this.#workspace.fresh("documents");
    const earlier = this.#workspace.fresh("earlier");
    const from = Math.round(count * (1 - LAST_PART));
    const config = ownNodeConfig(dir);
    this.#workspace.onProgress("writing the documents of own indexes");
    const first = { config, from: 0, to: from, each: DOCUMENTS_PER_TRANSACTION };
    const { txId: after = Number.NaN } = await runStep("make own documents", first);
    await runStep("build own index", { config: ownNodeConfig(dir, { keeping: { text: false } }) });
    await mkdir(earlier);
    await copyDirectory(indexDir(dir), indexDir(earlier));
    await rm(ownFolder(dir), { recursive: true });
    await runStep("make own documents", { config, from, to: count, each: 1 });
    return { dir, earlier, after, transactions: count - from };
  }
}

/** Configures a node of the documents. */
export function ownNodeConfig(
  dir: string,
  {
    keeping,
    ...choice
  }: Omit<NodeChoice, "dir" | "indexes"> & { readonly keeping?: OwnKeeping | undefined } = {},
): object {
  return nodeConfig({ dir, ownLog: ownLog(dir), indexes: keeping && ownIndexes(keeping), ...choice });
}

/** The folder of a node's log. */
export function ownLog(dir: string): string {
  return join(dir, "log");
}

/** The folder of a node's own indexes. */
export function ownFolder(dir: string): string {
  return join(indexDir(dir), "own");
}

/** Replaces a node's own index with the one of an earlier index. */
export async function putOwnIndexBack(dir: string, earlier: string): Promise<void> {
  await rm(ownFolder(dir), { recursive: true, force: true });
  await cp(ownFolder(earlier), ownFolder(dir), { recursive: true });
}
