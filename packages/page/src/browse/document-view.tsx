import type { ClientVersion } from "@cairn/client";
import { type JsonAnswer, nextCursor } from "@cairn/client/protocol";
import { addressOf, queryOf } from "../data/place.ts";
import { bodyOf, useAsked } from "../data/polled.ts";
import { Panel } from "../parts/panel.tsx";
import { count, counted } from "../text/amounts.ts";
import { lineDifference } from "../text/line-difference.ts";
import { instant, localTime } from "../text/times.ts";
import { useChanges } from "./documents.tsx";

const MAX_VERSIONS = 100;

interface DocumentProps {
  readonly bucket: string;
  readonly namespace: string;
  readonly name: string;
  readonly asOf: string | undefined;
  /** The revision to show; by default, the newest. */
  readonly revision: string | undefined;
}

export function DocumentView({ bucket, namespace, name, asOf, revision }: DocumentProps) {
  const version = useChanges({ bucket, namespace, isOn: asOf === undefined });
  const key = `${namespace}/${name}`;
  const query = queryOf({ key, history: "true", limit: String(MAX_VERSIONS) });
  const history = useAsked(`api/v1/${encodeURIComponent(bucket)}${query}`, historyIn, version);
  return (
    <Panel
      id="document"
      title={`${bucket} ${key}`}
      source={history}
      aside={asOf === undefined ? "shows changes as this node receives them" : `as of ${asOf}`}
    >
      {({ versions: all, hasMore }) => {
        const versions = all.filter((one) => isUpTo(one, asOf));
        const found = versions.findIndex((one) => String(one.revision) === revision);
        const selected = Math.max(0, found);
        const [shown, before] = [versions[selected], versions[selected + 1]];
        if (shown === undefined)
          return <p class="quiet">There is no such document{asOf === undefined ? "" : " as of then"}.</p>;
        return (
          <div class="columns history">
            <div>
              <h3>{counted(versions.length, "revision")}</h3>
              <ol class="revisions">
                {versions.map((one) => (
                  <li key={one.revision} class={one.deleted ? "deleted" : ""}>
                    <a
                      href={addressOf("browse", {
                        bucket,
                        namespace,
                        name,
                        "as-of": asOf,
                        revision: String(one.revision),
                      })}
                      aria-current={one === shown ? "true" : undefined}
                    >
                      {count(one.revision)} {one.deleted ? "deleted" : ""}
                    </a>{" "}
                    <time dateTime={one.txTime}>{localTime(instant(one.txTime))}</time>
                  </li>
                ))}
              </ol>
              {hasMore ? <p class="quiet">Older revisions are not shown.</p> : null}
            </div>
            <div>
              <h3>
                {before === undefined
                  ? `Revision ${shown.revision}`
                  : `What revision ${shown.revision} changed after ${before.revision}`}
              </h3>
              <Difference before={before} after={shown} />
            </div>
          </div>
        );
      }}
    </Panel>
  );
}

function historyIn(answer: JsonAnswer) {
  const versions = bodyOf<readonly ClientVersion[]>(answer, "list");
  return { versions, hasMore: nextCursor(answer) !== undefined };
}

/** Returns whether a version existed at a transaction or time. */
function isUpTo({ revision, txTime }: ClientVersion, asOf: string | undefined): boolean {
  if (asOf === undefined) return true;
  if (/^\d+$/.test(asOf)) return revision <= Number(asOf);
  // A time without a zone is in UTC, as in the API.
  const until = instant(/(?:Z|[+-]\d\d:?\d\d)$/i.test(asOf) || !asOf.includes("T") ? asOf : `${asOf}Z`);
  return until === undefined || (instant(txTime) ?? 0) <= until;
}

const WORDS = { same: "", added: "added", removed: "removed" } as const;
const SIGNS = { same: " ", added: "+", removed: "−" } as const;

function Difference({
  before,
  after,
}: {
  readonly before: ClientVersion | undefined;
  readonly after: ClientVersion;
}) {
  const lines = lineDifference(before === undefined ? textOf(after) : textOf(before), textOf(after));
  return (
    <pre class="difference" tabIndex={0} aria-label="The document, with changed lines marked">
      {lines.map(({ kind, text }, index) => (
        <span key={index} class={kind}>
          <span aria-hidden="true">{SIGNS[kind]} </span>
          {kind === "same" ? null : <span class="spoken">{WORDS[kind]} </span>}
          {text}
          {"\n"}
        </span>
      ))}
      {after.deleted ? <span class="quiet">The document was deleted.</span> : null}
    </pre>
  );
}

function textOf({ deleted, document }: ClientVersion): string {
  return deleted || document === undefined ? "" : JSON.stringify(document, undefined, 2);
}
