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
  readonly continues?: ContinuedLog;
}

/** Whether a decoded header is a birth record's. */
export function isBirthRecord(header: unknown): header is { birth: BirthRecord } {
  if (header === null || typeof header !== "object" || !("birth" in header)) return false;
  const birth = header.birth as Partial<BirthRecord> | null;
  return typeof birth?.log === "string" && Number.isSafeInteger(birth.offset);
}
