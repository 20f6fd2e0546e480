import type { Finding, StatusVerdict } from "@cairn/client";

type Severity = Finding["severity"];

/** Every finding that a node can have, with its severity. docs/metrics.md says what each means. */
export const NODE_FINDINGS = {
  "node-failed": "failing",
  "node-stalled": "failing",
  "writes-refused": "failing",
  "log-unreachable": "failing",
  "histories-differ": "failing",
  "node-interrupted": "attention",
  "log-at-risk": "attention",
  "transactions-lost": "attention",
  "clock-ahead": "attention",
  "index-files-missing": "attention",
  "disk-nearly-full": "attention",
  "checkpoint-failing": "attention",
  "checkpoint-overdue": "attention",
  "checkpoint-unverified": "attention",
  "checkpoint-warning": "attention",
  "log-backup-failing": "attention",
  "log-backup-behind": "attention",
  "log-backup-damaged": "attention",
  "checkpoint-skipped": "notice",
  "index-moved-aside": "notice",
  "different-log-accepted": "notice",
} as const satisfies Readonly<Record<string, Severity>>;

/** The findings that show only when the nodes of a log are asked. */
export const CLUSTER_FINDINGS = {
  "node-silent": "failing",
  "nodes-not-asked": "failing",
  "same-node-id": "attention",
} as const satisfies Readonly<Record<string, Severity>>;

const ALL = { ...NODE_FINDINGS, ...CLUSTER_FINDINGS };
/** The order of severities, from the worst. */
const SEVERITIES: readonly Severity[] = ["failing", "attention", "notice"];

/** What a finding says, in addition to its code and severity. What is omitted is null. */
type Said = Pick<Finding, "message"> & { readonly code?: string | null } & Partial<
    Pick<Finding, "hint" | "since">
  >;

/** Returns a finding about `said`, whose `code` is that of an error. */
export function finding(
  code: keyof typeof ALL,
  { code: error = null, message, hint = null, since = null }: Said,
): Finding {
  return { code, severity: ALL[code], since, error, message, hint };
}

export function worstFirst<F extends Finding>(findings: readonly F[]): F[] {
  return findings.toSorted((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity));
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

/** Formats a finding as one line. */
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
