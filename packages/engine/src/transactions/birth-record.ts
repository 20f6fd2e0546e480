/** The lost log's id, and the anchor of the last message that belongs to this log's history. */
export interface ContinuedLog {
  readonly log: string;
  readonly anchor: { readonly txId: number; readonly sha256: string };
}

/**
 * Every log's first message: its random id, and the offset from positions to ids, 0 unless it continues another log.
 */
export interface BirthRecord {
  readonly log: string;
  readonly offset: number;
  /** True if an operator began this log despite checkpoints of an older one: nodes then suspect no wrong address. */
  readonly deliberate?: boolean;
  /** The end of the lost log. The anchor's txId equals the offset, so transaction ids continue without a gap. */
  readonly continues?: ContinuedLog;
  /**
   * The ids of logs that this log replaces, however late they were begun by their servers' clocks: those that also
   * continued the lost log or one of its predecessors, those whose transactions were knowingly left behind, and those of
   * which this log has everything.
   */
  readonly replaces?: readonly string[];
}

/** Returns the ids of the logs that a log has made obsolete: the one that it continues, and those that it replaces. */
export function obsoleteLogs(birth: Pick<BirthRecord, "continues" | "replaces"> | undefined): string[] {
  const { continues, replaces } = birth ?? {};
  const replaced = Array.isArray(replaces) ? replaces.filter((id) => typeof id === "string") : [];
  return continues === undefined ? replaced : [continues.log, ...replaced];
}

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

/** The end of an index or a checkpoint: its log, and the transaction id and anchor hash of its last message. */
export interface HistoryEnd {
  readonly logId: string;
  readonly txId: number;
  readonly sha256: string;
}

/** Whether a log with this birth record continues exactly at `end`: no other part of the older log is its history. */
export function continuesAt(birth: BirthRecord | undefined, end: HistoryEnd): boolean {
  const continues = birth?.continues;
  return (
    continues !== undefined &&
    continues.log === end.logId &&
    continues.anchor.txId === end.txId &&
    continues.anchor.sha256 === end.sha256
  );
}
