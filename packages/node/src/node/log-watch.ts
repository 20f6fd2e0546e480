import type { NodeStatus } from "@cairn/client";
import { type CheckpointStore, listCheckpoints } from "@cairn/checkpoint";
import { CairnError, isCairnError } from "@cairn/kv";
import type { Logger } from "pino";
import { coalesced } from "../concurrency/coalesced.ts";
import { restoreStores } from "../checkpoints/checkpoint-stores.ts";
import type { System } from "../api/system.ts";
import type { LogBounds } from "../log/tx-log.ts";
import type { NodeLife } from "./node-life.ts";

/**
 * What somebody should look at about a log that goes on: its settings, messages that others removed. It can change at any time, so it is
 * looked at again and again; each is told in the node's log once for as long as it lasts.
 */
export class LogWatch {
  /** Looks now, or joins a look under way. */
  readonly look = coalesced(async () => await this.#look());
  readonly #system: System;
  readonly #life: NodeLife;
  readonly #logger: Logger;
  #found: readonly CairnError[] = [];

  constructor(system: System, life: NodeLife, logger: Logger) {
    this.#system = system;
    this.#life = life;
    this.#logger = logger;
  }

  /** What the last look found, and what joining did. */
  get warnings(): NodeStatus["log"]["warnings"] {
    const { apart } = this.#life.report;
    return [...(apart === undefined ? [] : [apart]), ...this.#found].map(({ code, message, hint = "" }) => ({
      code,
      message,
      hint,
    }));
  }

  async #look(): Promise<void> {
    const found = await this.#inspect();
    if (found === undefined) return;
    const told = new Set(this.#found.map(kindOf));
    this.#found = found;
    for (const warning of found) {
      const { code, message, hint } = warning;
      if (!told.has(kindOf(warning))) this.#logger.warn({ code, hint }, message);
    }
  }

  /** Undefined while it cannot be looked at: what was found before still counts. */
  async #inspect(): Promise<readonly CairnError[] | undefined> {
    const { log, identity, agrees } = this.#life;
    if (log?.inspect === undefined) return [];
    try {
      return [...(await log.inspect(agrees ? identity?.id : undefined)), ...(await this.#beginning())];
    } catch (error) {
      // A log or store that is away is told by whoever waits for it.
      if (isCairnError(error, "LOG_UNREACHABLE") || isCairnError(error, "STORE_UNREACHABLE"))
        return undefined;
      if (!isCairnError(error)) throw error;
      return this.#life.failure === undefined ? [error] : [];
    }
  }

  async #beginning(): Promise<readonly CairnError[]> {
    const { log, identity, index, agrees } = this.#life;
    // One that does not agree with its log says so by itself.
    if (log === undefined || identity === undefined || index === undefined || !agrees) return [];
    const bounds = await log.bounds();
    const stores = restoreStores(this.#system.checkpointer);
    const missing = await uncoveredBeginning({ name: log.name, id: identity.id, bounds }, stores);
    return missing === undefined ? [] : [missing];
  }
}

/** What is told once: a setting with its value, but not each message more that is gone. */
function kindOf({ code, message }: CairnError): string {
  return code === "LOG_UNSAFE" ? message : code;
}

/**
 * `LOG_TRIMMED` when the log has lost its beginning and no checkpoint in `stores` holds it and agrees with what is left: Cairn trims nothing
 * that none holds, so somebody else removed it, or the checkpoint. Undefined where all is well. Rejects where a store does not answer.
 */
async function uncoveredBeginning(
  log: { readonly name: string; readonly id: string; readonly bounds: LogBounds },
  stores: readonly CheckpointStore[],
): Promise<CairnError | undefined> {
  const { first } = log.bounds;
  if (first <= 1) return undefined;
  for (const store of stores) {
    const { checkpoints } = await listCheckpoints(store);
    // Its last message has to be there still, so that the index in it can be compared with the log.
    const covers = checkpoints.some(
      ({ log: of, anchor }) => of.id === log.id && anchor.txId - of.offset >= first,
    );
    if (covers) return undefined;
  }
  return new CairnError(
    "LOG_TRIMMED",
    `The log "${log.name}" begins at message ${first}, and no checkpoint that this node knows of holds what came before: a node without an index cannot join.`,
    {
      hint: "cairn checkpoint create at a ready node saves one now. Cairn itself trims only what a verified checkpoint holds: look for who purges the stream, for its settings that remove messages, and for who removes checkpoints.",
    },
  );
}
