import { CairnClientError, type ClientRows, type Json, type NodeStatus } from "@cairn/client";
import { useEffect, useRef, useState } from "preact/hooks";
import { addressOf, type ViewProps } from "../data/place.ts";
import type { Polled } from "../data/polled.ts";
import { Panel, Understood } from "../parts/panel.tsx";
import { Table } from "../parts/tables.tsx";
import { count, counted, words } from "../text/amounts.ts";
import { type Queried, useQueried } from "./queried.ts";

const PLAN_COLUMNS = "id,parent,notused,detail";

/** Queries of the node's own indexes. An address with a statement shows it, and does not run it. */
export function SqlView({ status, parameters }: ViewProps & { readonly status: Polled<NodeStatus> }) {
  const names = ownIndexNames(status.value);
  return (
    <Panel id="sql" title="SQL" source={status} aside={names.length === 1 ? names[0] : undefined}>
      {() =>
        names.length === 0 ? (
          <p class="quiet">This node has no indexes of its own, or is not ready yet.</p>
        ) : (
          <Query names={names} parameters={parameters} />
        )
      }
    </Panel>
  );
}

export function ownIndexNames(status: NodeStatus | undefined): string[] {
  const indexes = status?.ownIndexes;
  return Array.isArray(indexes) ? indexes.map((index: { name?: unknown } | null) => words(index?.name)) : [];
}

function Query({ names, parameters }: ViewProps & { readonly names: readonly string[] }) {
  const { index: placeIndex, sql: placeSql = "" } = parameters;
  const [sql, setSql] = useState(placeSql);
  const [index, setIndex] = useState(placeIndex);
  useEffect(() => setSql(placeSql), [placeSql]);
  useEffect(() => setIndex(placeIndex), [placeIndex]);
  const field = useRef<HTMLTextAreaElement>(null);
  const { result, run, cancel } = useQueried(addressOf("sql", { index: placeIndex, sql: placeSql }));
  const selected = names.find((name) => name === index) ?? names[0] ?? "";
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const place = addressOf("sql", { index: selected, sql });
    const isPlan = event.submitter?.getAttribute("name") === "plan";
    location.assign(place);
    void run({ index: selected, sql: isPlan ? `explain query plan ${sql}` : sql, place });
  };
  return (
    <>
      <form onSubmit={submit}>
        {names.length === 1 ? null : (
          <label>
            Index{" "}
            <select value={selected} onChange={(event) => setIndex(event.currentTarget.value)}>
              {names.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </label>
        )}
        <label>
          Statement
          <textarea
            ref={field}
            required
            rows={5}
            spellcheck={false}
            value={sql}
            onInput={(event) => setSql(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
              event.preventDefault();
              event.currentTarget.form?.requestSubmit();
            }}
          />
        </label>
        <p>
          <button type="submit">Run</button>{" "}
          <button type="submit" name="plan">
            Plan
          </button>{" "}
          {result === "running" ? (
            <button
              type="button"
              onClick={() => {
                cancel();
                // This button, which has the focus, disappears.
                field.current?.focus();
              }}
            >
              Cancel
            </button>
          ) : (
            <span class="quiet">Ctrl+Enter runs the statement.</span>
          )}
        </p>
      </form>
      <Result result={result} />
    </>
  );
}

function Result({ result }: { readonly result: Queried | undefined }) {
  const hasFailed = result instanceof CairnClientError;
  return (
    <>
      <p role="status" class={hasFailed ? "problem" : "quiet"}>
        {result === undefined ? "" : summaryOf(result)}
      </p>
      {typeof result !== "object" || hasFailed ? null : (
        <Understood answer={result}>{() => <Rows {...result} />}</Understood>
      )}
    </>
  );
}

function summaryOf(result: Queried): string {
  if (result === "running") return "Asking the node …";
  if (result === "cancelled") return "The query was cancelled.";
  if (result instanceof CairnClientError) return `${result.message} ${result.hint ?? ""}`;
  const shown = `${counted(result.rows?.length, "row")} as of transaction ${count(result.txId)}.`;
  return result.more ? `${shown} There are more, which are not shown.` : shown;
}

function Rows({ columns, rows }: ClientRows) {
  const isPlan = columns.join() === PLAN_COLUMNS;
  return (
    <Table caption={isPlan ? "Steps" : "Rows"} columns={isPlan ? ["Plan"] : columns.map(words)}>
      {(isPlan ? stepsOf(rows) : rows).map((row, at) => (
        <tr key={at}>
          {row.map((value, column) => (
            <td key={column} class={value === null ? "quiet" : ""}>
              {typeof value === "string" ? value : JSON.stringify(value)}
            </td>
          ))}
        </tr>
      ))}
    </Table>
  );
}

/** Returns the steps of a plan, each indented below the step of which it is a part. */
function stepsOf(rows: ClientRows["rows"]): string[][] {
  const depths = new Map<Json | undefined, number>();
  return rows.map(([id, parent, , detail]) => {
    const depth = (depths.get(parent) ?? -1) + 1;
    depths.set(id, depth);
    return [`${"    ".repeat(depth)}${words(detail)}`];
  });
}
