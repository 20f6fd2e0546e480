import { isDeepStrictEqual } from "node:util";
import { CairnError, isCairnError, unlessFailed } from "@cairn/kv";
import type { System } from "../api/system.ts";
import { readLineages, replacedLogs } from "../backup/backup-lineage.ts";
import { restoreStores } from "../checkpoints/checkpoint-stores.ts";
import { isUnused, type LogIdentity, readLogIdentity, usedLog } from "../log/log-identity.ts";
import type { TxLog } from "../log/tx-log.ts";
import type { ContinuedLog } from "../transactions/birth-record.ts";
import { encodeBirthRecord } from "../transactions/transaction-codec.ts";
import { askHolders, type AskedLog, type Holder, type LookOptions } from "./log-holders.ts";

export interface Beginning {
  /** The holders of its transactions, each as a clause. If there are any, no node may begin it. */
  readonly holders: readonly string[];
  /** What to do about them, as sentences. */
  readonly cure: string;
  /** A sentence that says how a person overrides the answer. */
  readonly override: string;
}

/**
 * The only answer to the question whether a log may begin: finds out who holds transactions of a log with this name. Only
 * if every place responds that it holds none, there are no holders. Throws the error of the stores if they are the only
 * place that did not respond and no other one holds anything, because another attempt may succeed.
 */
export async function lookBeforeBeginning(
  log: AskedLog,
  system: System,
  options: LookOptions = {},
): Promise<Beginning> {
  const found = await askHolders(log, system, options);
  const unread = found.filter(({ error }) => error !== undefined);
  const store = unread.find(({ kind }) => kind === "stores")?.error;
  if (store !== undefined && found.length === 1) throw store;
  // The cures, beginning with the furthest, up to the first one that can be followed as things are.
  const curing = found
    .filter(({ cure }) => cure !== undefined)
    .toSorted((a, b) => (b.txId ?? 0) - (a.txId ?? 0) || rank(a) - rank(b));
  const sure = curing.findIndex(({ isDoubtful }) => isDoubtful !== true);
  const cures = curing.slice(0, sure < 0 ? curing.length : sure + 1).flatMap(({ cure = [] }) => cure);
  const isRecoverable = cures.length > 0;
  if (options.own !== undefined && !isRecoverable) cures.push(withoutRemains());
  // What stores that cannot be read hold may be better than what anything else does.
  const chosen = store === undefined ? cures : [withoutRemains(store)];
  const sentences = found.flatMap(({ renamed = [] }) => renamed).slice(0, 1);
  if (chosen.length > 0)
    sentences.push(`If the log is permanently lost, ${chosen.join(". If that is impossible, ")}.`);
  if (store?.code === "KEY_MISSING") sentences.push(withoutKey(cures));
  if (store === undefined && unread.length > 0) {
    sentences.push("Repair what cannot be read, or move it away if it holds nothing of this log.");
    if (isRecoverable)
      sentences.push("If cairn log recover is refused because of it, --yes leaves it behind.");
  }
  return { holders: found.map(({ holder }) => holder), cure: sentences.join(" "), override: TO_BEGIN_EMPTY };
}

/** Between two that lead equally far, the stores come first, because every node can read them. */
function rank({ kind }: Holder): number {
  return kind === "stores" ? 0 : 1;
}

const TO_BEGIN_EMPTY =
  "To begin an empty log instead, run cairn log create --empty (with an embedded log, stop the node first).";

/** Only the node's own index is known to hold transactions. `store` is the error of stores that could not be read. */
function withoutRemains(store?: CairnError): string {
  return store !== undefined
    ? `it can be continued from a checkpoint or a log backup, but what the stores hold could not be read (${store.code}: ${store.message}); once it can, cairn log status names the command`
    : `the stores of this node have no checkpoint of it: cairn log recover --from PATH continues from a checkpoint or an index elsewhere, and "on-log-mismatch": {"different": "rebuild"} in cairn/tx-log lets this node begin with an empty index, after which cairn log orphans prints what can be read of the present one`;
}

/** The files of a store that nothing can decrypt are in the way of everything that can still be read. */
function withoutKey([cure]: readonly string[]): string {
  const next = cure === undefined ? "" : `, and then ${cure}`;
  return `If the key was lost as well, move the files that need it out of the store${next}.`;
}

/**
 * Begins an empty log, and returns its id. Throws `CONFLICT` if there is a log or, unless `evenIfHeld`, if something
 * holds transactions of a log with this name, which nodes of a new log would lack.
 */
export async function beginEmptyLog(log: TxLog, system: System, evenIfHeld: boolean): Promise<string | null> {
  const existing = await readLogIdentity(log);
  if (existing !== undefined) throw usedLog(log.name, existing.bounds.last);
  if (!evenIfHeld) {
    const { holders, cure, override } = await lookBeforeBeginning(log, system).catch((error: unknown) => {
      if (!isCairnError(error)) throw error;
      const needed = error.code === "KEY_MISSING" ? "Configure its keys" : "Make the store reachable";
      throw new CairnError(error.code, `The log was not begun: ${error.message}`, {
        hint: `${needed}: only its checkpoints show whether there was a log of this name. ${TO_BEGIN_EMPTY}`,
        cause: error,
      });
    });
    if (holders.length > 0) {
      const message = `There was a log "${log.name}": ${holders.join("; ")}. A new log would have none of them.`;
      throw new CairnError("CONFLICT", message, `${cure} ${override}`);
    }
  }
  // Marked as deliberate, so that nodes that find checkpoints of another log do not suspect a wrong address.
  await log.create((id) => encodeBirthRecord({ log: id, offset: 0, deliberate: true }));
  return (await readLogIdentity(log))?.id ?? null;
}

/**
 * Begins a log that continues another, in place of an unused one. Besides those that backups show, it replaces the logs
 * `replaced`. Returns its id; throws `CONFLICT` for a used one.
 */
export async function continueLog(
  log: TxLog,
  system: System,
  existing: LogIdentity | undefined,
  { continues, replaced }: { readonly continues: ContinuedLog; readonly replaced: readonly string[] },
): Promise<string> {
  if (existing !== undefined && isUnused(existing)) await log.removeUnused?.(existing.id);
  // If a store cannot be read, the times at which the logs were begun decide.
  const lineages = await unlessFailed(readLineages(restoreStores(system)), "any", undefined);
  const shown = lineages === undefined ? [] : replacedLogs(lineages, continues.log);
  const replaces = [...new Set([...shown, ...replaced])].filter((id) => id !== continues.log);
  const offset = continues.anchor.txId;
  const birth = { offset, deliberate: true, continues, ...(replaces.length > 0 && { replaces }) };
  await log.create((id) => encodeBirthRecord({ log: id, ...birth }));
  const begun = await readLogIdentity(log);
  // Of several concurrent commands, one creates the log. The others succeed only if it continues from their point.
  if (begun !== undefined && isDeepStrictEqual(begun.birth?.continues, continues)) return begun.id;
  throw usedLog(log.name, begun?.bounds.last ?? 0);
}
