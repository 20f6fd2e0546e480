import type { ClusterStatus, Finding } from "@cairn/client";
import type { Polled } from "../data/polled.ts";
import { Mark, type MarkState } from "../parts/marks.tsx";
import { Panel, Understood } from "../parts/panel.tsx";
import { count, span, words } from "../text/amounts.ts";
import { instant, localTime } from "../text/times.ts";

const WORDS: Readonly<Record<MarkState, string>> = {
  healthy: "Healthy",
  "not-ready": "Not ready",
  attention: "Attention",
  failing: "Failing",
  unknown: "Unknown",
};
const SEVERITIES: Readonly<Record<Finding["severity"], readonly [MarkState, string]>> = {
  failing: ["failing", "Failing"],
  attention: ["attention", "Attention"],
  notice: ["unknown", "Notice"],
};

interface VerdictProps {
  readonly cluster: Polled<ClusterStatus>;
}

/** The first sentence: whether everything is all right, and what to do if it is not. */
export function Verdict({ cluster }: VerdictProps) {
  return <Understood answer={cluster.value}>{() => <VerdictText cluster={cluster} />}</Understood>;
}

interface Sentence {
  readonly state: MarkState;
  readonly message: string;
  readonly hint: string | null | undefined;
  readonly since?: string | null | undefined;
}

function VerdictText({ cluster }: VerdictProps) {
  const { state, message, hint, since } = sentenceOf(cluster);
  return (
    <div class={`verdict ${state}`} role="status">
      <Mark state={state} />
      <div>
        <p class="sentence">
          <strong>{WORDS[state]}</strong> <span>{message}</span> <Since time={since} />
        </p>
        {typeof hint === "string" && hint !== "" ? <p class="hint">{hint}</p> : null}
      </div>
    </div>
  );
}

function Since({ time }: { readonly time: string | null | undefined }) {
  return typeof time === "string" ? <span class="quiet">since {localTime(instant(time))}</span> : null;
}

function sentenceOf({ value, at, failure }: Polled<ClusterStatus>): Sentence {
  if (failure !== undefined) {
    const { error, since } = failure;
    const age = at === undefined ? "" : `, for ${span(Date.now() - since)}`;
    const message = `This node has not answered since ${localTime(since)}${age}: ${error.message}`;
    return { state: "unknown", message, hint: error.hint };
  }
  if (value === undefined) return { state: "unknown", message: "Asking the node …", hint: undefined };
  const { state, message, hint } = value.verdict;
  const isKnown = Object.hasOwn(WORDS, state);
  return {
    state: isKnown ? state : "unknown",
    message: words(message),
    hint,
    since: onlyFinding(value)?.since,
  };
}

/** Returns the finding that the verdict states, with its hint, if there is no other one. */
function onlyFinding({ findings }: ClusterStatus): Finding | undefined {
  const [only, ...others]: readonly (Finding | undefined)[] = findings;
  return others.length > 0 || only?.severity === "notice" ? undefined : only;
}

/** Everything that needs attention, worst first. It is left out if it would only repeat the verdict. */
export function Findings({ cluster }: VerdictProps) {
  const { value } = cluster;
  const findings = value?.findings;
  if (value === undefined || (Array.isArray(findings) && (findings.length === 0 || onlyFinding(value))))
    return null;
  return (
    <Panel id="findings" title="What needs attention" source={cluster} aside={count(findings?.length)}>
      {() => (
        <ul class="findings">
          {findings?.map(({ severity, node, code, error, message, meanwhile, hint, since }) => {
            const [state, word] = SEVERITIES[severity] ?? ["unknown", "Unknown"];
            return (
              <li key={`${code} ${node} ${message}`}>
                <Mark state={state} />
                <div>
                  <p>
                    <strong>{word}</strong> {node === null ? null : <span class="name">{words(node)}</span>}{" "}
                    {words(message)} {error === null ? null : <code>{words(error)}</code>}{" "}
                    <Since time={since} />
                  </p>
                  {typeof meanwhile === "string" ? <p>Meanwhile, {meanwhile}</p> : null}
                  {typeof hint === "string" ? <p class="hint">{hint}</p> : null}
                </div>
              </li>
            );
          })}
        </ul>
      )}
    </Panel>
  );
}
