import type { Finding, StatusVerdict } from "@cairn/client";

type Severity = Finding["severity"];

/**
 * Every finding that a node can have, with its severity. docs/metrics.md says what each means. Equally severe ones are
 * shown in this order: what causes others comes before them, and what can be got back before what replaces it.
 */
export const NODE_FINDINGS = {
  "node-failed": "failing",
  "node-stalled": "failing",
  "log-unreachable": "failing",
  "writes-refused": "failing",
  "histories-differ": "failing",
  "certificate-ended": "failing",
  "node-interrupted": "attention",
  "transactions-lost": "attention",
  "index-uncompared": "attention",
  "log-at-risk": "attention",
  "clock-wrong": "attention",
  "same-node-id": "attention",
  "index-files-missing": "attention",
  "disk-nearly-full": "attention",
  "own-index-failed": "attention",
  "file-unusable": "attention",
  "connections-refused": "attention",
  "checkpoint-failing": "attention",
  "checkpoint-overdue": "attention",
  "checkpoint-unverified": "attention",
  "checkpoint-warning": "attention",
  "stores-differ": "attention",
  "log-backup-damaged": "attention",
  "log-backup-failing": "attention",
  "log-backup-behind": "attention",
  "checkpoint-skipped": "notice",
  "index-moved-aside": "notice",
  "different-log-accepted": "notice",
} as const satisfies Readonly<Record<string, Severity>>;

export const SAME_ID_HINT =
  "Give each node its own id (cairn/node > id, CAIRN_NODE_ID), and restart the one that has a new id, or stop the second process.";

export const CLUSTER_FINDINGS = {
  "node-silent": "failing",
  "nodes-not-asked": "failing",
  "no-node-ready": "failing",
  "status-shortened": "notice",
} as const satisfies Readonly<Record<string, Severity>>;

const ALL = { ...NODE_FINDINGS, ...CLUSTER_FINDINGS };
/** What waiting costs, in the words that follow "Meanwhile,". */
const MEANWHILE: Readonly<Record<keyof typeof ALL, string>> = {
  "node-failed": "this node serves nothing.",
  "node-stalled": "this node falls behind, or does not become ready.",
  "writes-refused": "nothing can be written.",
  "log-unreachable": "nothing can be written, and what is read gets no newer.",
  "histories-differ": "nodes may answer the same question differently.",
  "certificate-ended": "clients that check the certificate do not reach this node.",
  "node-interrupted": "this node does not become ready, or what it serves gets no newer.",
  "log-at-risk": "acknowledged transactions may be lost, or a node without an index may be unable to join.",
  "transactions-lost": "nobody can read these transactions; they stay in quarantine.",
  "index-uncompared": "nothing else may hold these transactions; the index stays in quarantine.",
  "clock-wrong":
    "times are wrong: those of transactions, which expiry and leases follow, or those that this node reports.",
  "same-node-id":
    "the checkpoints and metrics of the two are mistaken for each other's, and neither is missed if it dies.",
  "index-files-missing": "this node serves from the files that it still has open.",
  "disk-nearly-full": "this node cannot build its index anew, and it stops when the disk is full.",
  "own-index-failed": "queries of this index are refused.",
  "file-unusable": "what the file contained before remains in use, but the node cannot start again.",
  "connections-refused": "clients must use other nodes, and are refused if there is none.",
  "checkpoint-failing": "a node that joins replays more of the log, and trimming waits.",
  "checkpoint-overdue": "a node that joins replays more of the log, and trimming waits.",
  "checkpoint-unverified": "a node that joins may have to use an older checkpoint.",
  "checkpoint-warning": "checkpoints are still saved.",
  "stores-differ":
    "each store has its own checkpoints and backup, and the log may be trimmed because of what only one of them holds.",
  "log-backup-failing": "the transactions that are not in the backup would be lost with the log's servers.",
  "log-backup-behind": "the transactions that are not in the backup would be lost with the log's servers.",
  "log-backup-damaged": "what only the damaged or missing segments hold cannot be restored.",
  "checkpoint-skipped": "a node that joins uses an older checkpoint.",
  "index-moved-aside": "nothing is missing, unless another finding says so.",
  "different-log-accepted": "this node moves a good index aside if the log is lost.",
  "node-silent": "requests to this node fail.",
  "nodes-not-asked": "it is unknown how the other nodes are.",
  "no-node-ready": "requests to all nodes fail.",
  "status-shortened": "findings of this node may be missing or cut here.",
};

const SEVERITIES: readonly Severity[] = ["failing", "attention", "notice"];
const CODES: readonly string[] = Object.keys(ALL);

/** What a finding says, in addition to its code and severity. What is omitted is null. */
type Said = Pick<Finding, "message" | "hint"> & { readonly code?: string | null } & Partial<
    Pick<Finding, "since">
  >;

/** Returns a finding about `said`, whose `code` is that of an error. */
export function finding(
  code: keyof typeof ALL,
  { code: error = null, message, hint, since = null }: Said,
): Finding {
  return { code, severity: ALL[code], since, error, message, meanwhile: MEANWHILE[code], hint };
}

export function worstFirst<F extends Finding>(findings: readonly F[]): F[] {
  return findings.toSorted(
    (a, b) =>
      SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity) ||
      CODES.indexOf(a.code) - CODES.indexOf(b.code),
  );
}

/** Returns the verdict that findings lead to, worst first. `message` is that of the verdict if none of them counts. */
export function verdictOf(
  findings: readonly (Finding & { readonly node?: string | null })[],
  isReady: boolean,
  message: string,
): StatusVerdict {
  const [worst] = findings;
  if (worst !== undefined && worst.severity !== "notice") {
    return { state: worst.severity, message: findingText({ ...worst, hint: null }), hint: worst.hint };
  }
  return isReady
    ? { state: "healthy", message, hint: null }
    : { state: "not-ready", message, hint: "Wait until a node is ready: cairn status --wait PT30S." };
}

export function findingText({
  node = null,
  error,
  message,
  hint,
}: Finding & { readonly node?: string | null }): string {
  return [
    node === null ? "" : `${node}: `,
    error === null ? "" : `${error}: `,
    message,
    hint && ` ${hint}`,
  ].join("");
}
