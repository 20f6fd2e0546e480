import { open, readdir, readFile, rename } from "node:fs/promises";
import path from "node:path";
import { namesIn, systemErrorCode, closing } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { FIRST_TX_ID } from "../index/rows/index-state.ts";

const NOTE = "why.json";
const NEW_NOTE = `${NOTE}.new`;

/** All transactions up to `txId`. At the last comparison, the log's history had the same ones up to `shared`. */
export interface HeldTransactions {
  readonly txId: TxId;
  /** The last transaction that both shared: 0 of another log ({@link isOfOther}); undefined if it is unknown. */
  readonly shared?: TxId | undefined;
  /** The id of the log that was compared. Another log may have a different history, even if it continues that log. */
  readonly comparedWith?: string | undefined;
  /** False if transactions that could not be compared count as shared. */
  readonly isProven?: boolean | undefined;
  /** The number of those after `shared` that neither the log nor an older index in quarantine was seen to hold elsewhere. */
  readonly lost?: number | undefined;
}

interface QuarantineNote extends Partial<HeldTransactions> {
  readonly code: string;
  readonly message: string;
  readonly at: string;
  /** False only if something that was read shows that the log lost none of its transactions. */
  readonly holdsLost: boolean;
}

/** Without a readable note, it counts as an index that holds transactions lost by the log. */
export interface QuarantinedIndex {
  readonly folder: string;
  readonly live: string;
  readonly holdsLost: boolean;
  readonly held: Partial<HeldTransactions>;
}

/** Writes and flushes the note of an index. An earlier note remains until this one is complete. */
export async function writeNote(folder: string, note: QuarantineNote): Promise<void> {
  const written = path.join(folder, NEW_NOTE);
  await closing(await open(written, "w"), async (file) => {
    await file.writeFile(`${JSON.stringify(note, null, 2)}\n`);
    await file.sync();
  });
  await rename(written, path.join(folder, NOTE));
}

/**
 * Records in the note of an index what a later comparison has shown, and keeps the rest. A note that cannot be read
 * remains, and its index counts as one that may hold lost transactions.
 */
export async function renewNote(
  folder: string,
  renewed: Pick<QuarantineNote, keyof HeldTransactions | "holdsLost">,
): Promise<void> {
  const note = (await readRecord(path.join(folder, NOTE))) as QuarantineNote | undefined;
  if (note !== undefined) await writeNote(folder, { ...note, ...renewed });
}

export async function readQuarantine(quarantine: string): Promise<QuarantinedIndex[]> {
  const found: QuarantinedIndex[] = [];
  // Names begin with the time, so sorting by name sorts by age.
  for (const name of (await namesIn(quarantine)).toSorted()) {
    const folder = path.join(quarantine, name);
    if (await isWithoutIndex(folder)) continue;
    const note = await readNote(folder);
    found.push({ folder, live: path.join(folder, "live"), ...note });
  }
  return found;
}

/**
 * Returns whether an index is of a log with which this one does not even share the birth record. This log cannot have lost
 * its transactions: another cluster may have them, or a person who began this log in the place of the lost one.
 */
export function isOfOther({ shared = FIRST_TX_ID }: Pick<HeldTransactions, "shared">): boolean {
  return shared < FIRST_TX_ID;
}

/** Counts according to the notes. Those about another log than `logId` say nothing about this one. */
export function countOrphans(indexes: readonly QuarantinedIndex[], logId?: string): number {
  let orphans = 0;
  for (const { holdsLost, held } of indexes) {
    const isOfLog = logId === undefined || (held.comparedWith ?? logId) === logId;
    if (holdsLost && isOfLog && !isOfOther(held)) orphans += missing(held);
  }
  return orphans;
}

function missing({ txId, shared = 0, lost }: Partial<HeldTransactions>): number {
  // A birth record is not a transaction that can be printed.
  return txId === undefined ? 0 : (lost ?? Math.max(0, txId - Math.max(shared, FIRST_TX_ID)));
}

/** Returns the folders of those that may hold lost transactions, although no comparison has shown that they do. */
export function uncompared(indexes: readonly QuarantinedIndex[]): string[] {
  return indexes
    .filter(({ holdsLost }) => holdsLost)
    .filter(({ held }) => held.txId === undefined || (isOfOther(held) && missing(held) > 0))
    .map(({ folder }) => folder);
}

/** The note comes first. If the process or the power ended before the move, the index is still elsewhere. */
async function isWithoutIndex(folder: string): Promise<boolean> {
  try {
    const names = await readdir(folder);
    return !names.includes("live") && (names.includes(NOTE) || names.every((name) => name === NEW_NOTE));
  } catch (error) {
    // An unreadable folder may contain anything. The error is reported when its note is read.
    if (systemErrorCode(error) !== undefined) return false;
    throw error;
  }
}

const HELD = {
  txId: "number",
  shared: "number",
  comparedWith: "string",
  isProven: "boolean",
  lost: "number",
} as const;

async function readNote(folder: string): Promise<Pick<QuarantinedIndex, "holdsLost" | "held">> {
  const note = (await readRecord(path.join(folder, NOTE))) ?? {};
  const held = Object.entries(HELD).filter(([name, type]) => typeof note[name] === type);
  return {
    holdsLost: note["holdsLost"] !== false,
    held: Object.fromEntries(held.map(([name]) => [name, note[name]])),
  };
}

/** Undefined if the file is missing, is not readable, or was not written completely. */
export async function readRecord(file: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  try {
    const record: unknown = JSON.parse(await readFile(file, "utf8"));
    return typeof record === "object" && record !== null ? (record as Record<string, unknown>) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || systemErrorCode(error) !== undefined) return undefined;
    throw error;
  }
}
