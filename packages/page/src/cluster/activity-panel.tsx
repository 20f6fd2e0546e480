import type { Activity } from "@cairn/client";
import type { Polled } from "../data/polled.ts";
import { Mark, type MarkState } from "../parts/marks.tsx";
import { Panel } from "../parts/panel.tsx";
import { amountOfBytes, count, span, words } from "../text/amounts.ts";
import { instant, localTime } from "../text/times.ts";

const STATES: Readonly<Record<Activity["level"], MarkState>> = {
  info: "healthy",
  warn: "attention",
  error: "failing",
};
const LEVELS: Readonly<Record<Activity["level"], string>> = { info: "", warn: "Warning", error: "Error" };

/** What happened on this node, newest first. */
export function ActivityPanel({ activity }: { readonly activity: Polled<readonly Activity[]> }) {
  return (
    <Panel id="activity" title="What happened on this node" source={activity}>
      {() => (
        <ol class="activity" tabIndex={0} aria-label="What happened, newest first">
          {activity.value?.map(({ id, at, level, message, code, hint, durationMs, bytes, times }) => (
            <li key={id} class={words(level)}>
              <time dateTime={words(at)}>{localTime(instant(at))}</time>
              <Mark state={STATES[level] ?? "unknown"} />
              <div>
                <strong>{LEVELS[level] ?? words(level)}</strong> {words(message)}{" "}
                <span class="quiet">
                  {typeof bytes === "number" ? `${amountOfBytes(bytes)} ` : ""}
                  {typeof durationMs === "number" ? `in ${span(durationMs)} ` : ""}
                  {typeof times === "number" && times > 1 ? `(${count(times)} times)` : ""}
                </span>{" "}
                {code === null ? null : <code>{words(code)}</code>}
                {typeof hint === "string" ? <p class="hint">{hint}</p> : null}
              </div>
            </li>
          ))}
        </ol>
      )}
    </Panel>
  );
}
