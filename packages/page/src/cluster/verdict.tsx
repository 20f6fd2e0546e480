import type { ClusterFinding, ClusterStatus, NodeStatus } from "@cairn/client";
import type { Polled } from "../data/polled.ts";
import { Mark, type MarkState } from "../parts/marks.tsx";
import { Panel, Understood } from "../parts/panel.tsx";
import { count, span, words } from "../text/amounts.ts";
import { instant, localTime } from "../text/times.ts";

const WORDS: Readonly<Record<MarkState, string>> = {
  well: "Well",
  attention: "Attention",
  failing: "Failing",
  working: "Joining",
  unknown: "Unknown",
};

interface Sentence {
  readonly state: MarkState;
  readonly message: string;
  readonly hint: string | null | undefined;
  /** The time since which it has been so, if the node says so. */
  readonly since?: string | null | undefined;
}

interface Sources {
  readonly cluster: Polled<ClusterStatus>;
  readonly status: Polled<NodeStatus>;
}

/** The first sentence: whether everything is all right, and what to do if it is not. */
export function Verdict(sources: Sources) {
  return (
    <Understood answer={sources.cluster.value ?? sources.status.value}>
      {() => <VerdictText {...sources} />}
    </Understood>
  );
}

function VerdictText({ cluster, status }: Sources) {
  const { state, message, hint, since } = sentenceOf({ cluster, status });
  return (
    <div class={`verdict ${state}`} role="status">
      <Mark state={state} />
      <div>
        <p class="sentence">
          <strong>{WORDS[state]}</strong> <span>{message}</span>{" "}
          {typeof since === "string" ? <span class="quiet">since {localTime(instant(since))}</span> : null}
        </p>
        {typeof hint === "string" && hint !== "" ? <p class="hint">{hint}</p> : null}
      </div>
    </div>
  );
}

function sentenceOf({ cluster, status }: Sources): Sentence {
  if (cluster.failure !== undefined && status.failure !== undefined) {
    const { error, since } = status.failure;
    const age = status.at === undefined ? "" : `, for ${span(Date.now() - since)}`;
    return {
      state: "unknown",
      message: `This node cannot be asked since ${localTime(since)}${age}: ${error.message}`,
      hint: error.hint,
    };
  }
  const verdict = cluster.failure === undefined ? cluster.value?.verdict : undefined;
  if (verdict !== undefined && typeof verdict === "object" && verdict !== null) {
    const { since } = onlyFinding(cluster.value) ?? {};
    return { state: stateOf(verdict.state), message: words(verdict.message), hint: verdict.hint, since };
  }
  const { value } = status;
  if (value === undefined) return { state: "unknown", message: "Asking the node …", hint: undefined };
  const ofThis = ofNode(value);
  if (cluster.failure === undefined || ofThis.state === "failing") return ofThis;
  const { error } = cluster.failure;
  return {
    state: "attention",
    message: `${ofThis.message} The other nodes could not be asked: ${error.message}`,
    hint: error.hint,
  };
}

/** Returns the finding that the verdict states, with its hint, if there is no other one. */
function onlyFinding(cluster: ClusterStatus | undefined): ClusterFinding | undefined {
  const findings = cluster?.findings;
  if (!Array.isArray(findings) || findings.length !== 1) return undefined;
  const [only] = findings as readonly ClusterFinding[];
  return only?.severity === "notice" ? undefined : only;
}

function stateOf(state: unknown): MarkState {
  return state === "well" || state === "attention" || state === "failing" ? state : "unknown";
}

/** The sentence about this node alone, for the time in which the others cannot be asked. */
function ofNode({ node, phase, failure }: NodeStatus): Sentence {
  if (failure !== null && typeof failure === "object") {
    return { state: "failing", message: `${words(node)}: ${words(failure.message)}`, hint: failure.hint };
  }
  return {
    state: phase === "ready" ? "well" : "working",
    message: `${words(node)} is ${words(phase)}.`,
    hint: undefined,
  };
}

const FINDING_STATES: Readonly<Record<ClusterFinding["severity"], MarkState>> = {
  failing: "failing",
  attention: "attention",
  notice: "unknown",
};
const SEVERITY_WORDS: Readonly<Record<ClusterFinding["severity"], string>> = {
  failing: "Failing",
  attention: "Attention",
  notice: "Notice",
};

/** Everything that needs attention, worst first. It is left out if there is nothing. */
export function Findings({ cluster }: { readonly cluster: Polled<ClusterStatus> }) {
  const findings = cluster.value?.findings;
  if (Array.isArray(findings) && findings.length === 0) return null;
  if (onlyFinding(cluster.value) !== undefined) return null;
  if (cluster.value === undefined) return null;
  return (
    <Panel id="findings" title="What needs attention" source={cluster} aside={count(findings?.length)}>
      {() => (
        <ul class="findings">
          {cluster.value?.findings.map(({ severity, node, code, message, hint, since }) => (
            <li key={`${severity} ${node} ${message}`}>
              <Mark state={FINDING_STATES[severity] ?? "unknown"} />
              <div>
                <p>
                  <strong>{SEVERITY_WORDS[severity] ?? "Unknown"}</strong>{" "}
                  {node === null ? null : <span class="name">{words(node)}</span>} {words(message)}{" "}
                  {code === null ? null : <code>{words(code)}</code>}{" "}
                  {since === null ? null : <span class="quiet">since {localTime(instant(since))}</span>}
                </p>
                {typeof hint === "string" ? <p class="hint">{hint}</p> : null}
              </div>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}
