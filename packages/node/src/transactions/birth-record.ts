/** What a log continues that begins again after another one was lost: that log's id, and the last message taken over. */
export interface ContinuedLog {
  readonly log: string;
  readonly anchor: { readonly txId: number; readonly sha256: string };
}

/** The first message of every log: its random id, and the offset that makes positions into tx-ids (0 unless it continues another log). */
export interface BirthRecord {
  readonly log: string;
  readonly offset: number;
  /** Begun by a person's command beside what older checkpoints say: nodes do not take it for a wrong address. */
  readonly deliberate?: boolean;
  /** Its anchor's txId is the offset, so that tx-ids go on. */
  readonly continues?: ContinuedLog;
}

/** Whether a decoded header is a birth record's. */
export function isBirthRecord(header: unknown): header is { birth: BirthRecord } {
  if (header === null || typeof header !== "object" || !("birth" in header)) return false;
  const birth = header.birth as Partial<BirthRecord> | null;
  if (typeof birth?.log !== "string" || !Number.isSafeInteger(birth.offset)) return false;
  const continues = birth.continues as Partial<ContinuedLog> | null | undefined;
  if (continues === undefined) return true;
  const anchor = continues?.anchor as Partial<ContinuedLog["anchor"]> | null | undefined;
  return (
    typeof continues?.log === "string" && typeof anchor?.sha256 === "string" && anchor.txId === birth.offset
  );
}

/** Where an index or a checkpoint ends: its log, and the id and digest of the last message in it. */
export interface HistoryEnd {
  readonly logId: string;
  readonly txId: number;
  readonly sha256: string;
}

/** Whether a log with this birth record goes on exactly where `end` is: nothing else of the older log belongs to its history. */
export function continuesAt(birth: BirthRecord | undefined, end: HistoryEnd): boolean {
  const continues = birth?.continues;
  return (
    continues !== undefined &&
    continues.log === end.logId &&
    continues.anchor.txId === end.txId &&
    continues.anchor.sha256 === end.sha256
  );
}
