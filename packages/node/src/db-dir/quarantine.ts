import { open, readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { namesIn, systemErrorCode } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { FIRST_TX_ID } from "../index/rows/index-state.ts";

const NOTE = "why.json";

/** Which transactions an index that was moved aside holds: up to `txId`, and up to `shared` the log had the same when it was moved. */
export interface HeldTransactions {
  readonly txId: TxId;
  /** Undefined where nothing told. */
  readonly shared?: TxId | undefined;
}

/** Why an index was moved aside, as written beside it. */
export interface QuarantineNote extends Partial<HeldTransactions> {
  readonly code: string;
  readonly message: string;
  readonly at: string;
  /** It holds transactions that the log lost, so it is never removed. */
  readonly holdsLost: boolean;
}

/** An index in `quarantine/`. Without a readable note nobody knows what it holds: then it counts as one that holds what was lost. */
export interface QuarantinedIndex {
  readonly folder: string;
  /** Where the index itself lies. */
  readonly live: string;
  readonly holdsLost: boolean;
  readonly held: Partial<HeldTransactions>;
}

/** Writes an index's note into its folder. */
export async function writeNote(folder: string, note: QuarantineNote): Promise<void> {
  const file = await open(path.join(folder, NOTE), "w");
  try {
    await file.writeFile(`${JSON.stringify(note, null, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** The indexes that were moved aside, oldest first. */
export async function readQuarantine(quarantine: string): Promise<QuarantinedIndex[]> {
  const found: QuarantinedIndex[] = [];
  // Names begin with the time, so name order is age.
  for (const name of (await namesIn(quarantine)).toSorted()) {
    const folder = path.join(quarantine, name);
    if (await hasNoteAlone(folder)) continue;
    const note = await readNote(folder);
    found.push({ folder, live: path.join(folder, "live"), ...note });
  }
  return found;
}

/** How many transactions only indexes that were moved aside know, as far as their notes say. */
export function countOrphans(indexes: readonly QuarantinedIndex[]): number {
  let orphans = 0;
  for (const { holdsLost, held } of indexes) {
    // Where nothing told what is shared, it may be no more than the birth record.
    if (holdsLost && held.txId !== undefined) orphans += held.txId - (held.shared ?? FIRST_TX_ID);
  }
  return orphans;
}

/** The note is written first: where the process died, or moving failed, the index that it is about is still elsewhere. */
async function hasNoteAlone(folder: string): Promise<boolean> {
  try {
    const names = await readdir(folder);
    return names.includes(NOTE) && !names.includes("live");
  } catch (error) {
    // What cannot be read may hold anything; reading the note says the same.
    if (systemErrorCode(error) !== undefined) return false;
    throw error;
  }
}

async function readNote(folder: string): Promise<Pick<QuarantinedIndex, "holdsLost" | "held">> {
  try {
    const note = JSON.parse(await readFile(path.join(folder, NOTE), "utf8")) as Record<
      string,
      unknown
    > | null;
    const { txId, shared, holdsLost } = note ?? {};
    const held = {
      ...(typeof txId === "number" ? { txId } : {}),
      ...(typeof shared === "number" ? { shared } : {}),
    };
    return { holdsLost: holdsLost !== false, held };
  } catch (error) {
    if (error instanceof SyntaxError || systemErrorCode(error) !== undefined)
      return { holdsLost: true, held: {} };
    throw error;
  }
}
