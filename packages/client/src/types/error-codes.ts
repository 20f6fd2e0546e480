/** The codes that only clients report, of which END_DROPPED, UNANSWERED and THREAD_BUSY are a director's. */
export const CLIENT_CODES = [
  "DOCUMENT_INVALID",
  "UNREACHABLE",
  "END_DROPPED",
  "UNANSWERED",
  "THREAD_BUSY",
] as const;

/** Every code of this version. Those of nodes and commands are declared in @cairn/kv, on which clients do not depend. */
export type KnownCode =
  | (typeof CLIENT_CODES)[number]
  | "CONFIG_INVALID"
  | "CONFIG_SYNTAX"
  | "CONFIG_NOT_FOUND"
  | "CONFIG_MODULE"
  | "LOG_UNREACHABLE"
  | "LOG_REGRESSED"
  | "LOG_DIFFERENT"
  | "LOG_TRIMMED"
  | "LOG_GAP"
  | "LOG_VERSION"
  | "LOG_FULL"
  | "LOG_UNSAFE"
  | "LOG_READ_ONLY"
  | "SEGMENT_CORRUPT"
  | "REQUEST_INVALID"
  | "METHOD_NOT_ALLOWED"
  | "TX_INVALID"
  | "TX_TOO_LARGE"
  | "TX_TIMEOUT"
  | "INDEX_CORRUPT"
  | "INDEX_VERSION"
  | "INDEX_LOCKED"
  | "CHECKPOINT_CORRUPT"
  | "CHECKPOINT_INCOMPLETE"
  | "CHECKPOINT_NOT_FOUND"
  | "CHECKPOINT_RUNNING"
  | "KEY_MISSING"
  | "PLAIN_REFUSED"
  | "DISK_FULL"
  | "SYSTEM_REFUSED"
  | "PORT_IN_USE"
  | "NOT_READY"
  | "OVERLOADED"
  | "OWN_INDEX_FAILED"
  | "QUERY_LIMIT"
  | "STORE_UNREACHABLE"
  | "STORE_DENIED"
  | "STORE_FULL"
  | "NOT_FOUND"
  | "CONFLICT"
  | "WATCH_COMPACTED"
  | "OUTCOME_REMOVED"
  | "UNAUTHORIZED"
  | "FORBIDDEN"
  | "EXPORT_DAMAGED"
  | "IMPORT_INCOMPLETE"
  | "SOURCE_UNREADABLE"
  | "INTERNAL";
