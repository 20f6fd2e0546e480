import type { ClientDocument } from "@cairn/client";
import { type JsonAnswer, nextCursor } from "@cairn/client/protocol";
import { useEffect, useRef, useState } from "preact/hooks";
import { type Followed, useFollowed } from "../data/followed.ts";
import { addressOf, queryOf, type ViewProps } from "../data/place.ts";
import { bodyOf, useAsked } from "../data/polled.ts";
import { Panel } from "../parts/panel.tsx";
import { Table } from "../parts/tables.tsx";
import { count, counted, words } from "../text/amounts.ts";

const PAGE = 50;
const MAX_CHARACTERS = 160;
/** The time after a change until the list is read again, together with the changes of that time. */
const RELOAD_MS = 500;

interface Page {
  readonly documents: readonly ClientDocument[];
  readonly txId: number;
  readonly next: string | undefined;
}

/** A page of the documents of a bucket. The first page follows changes, unless it is as of the past. */
export function Documents({ bucket, parameters }: ViewProps & { readonly bucket: string }) {
  const { namespace, prefix, where, cursor, "as-of": asOf } = parameters;
  const isLive = asOf === undefined && cursor === undefined;
  const version = useChanges({ bucket, namespace, isOn: isLive });
  const query = queryOf({ namespace, prefix, where, cursor, "as-of": asOf, limit: String(PAGE) });
  const page = useAsked(`api/v1/${encodeURIComponent(bucket)}${query}`, pageIn, version);
  return (
    <Panel id="documents" title={`Documents of ${bucket}`} source={page} aside={asideOf(page.value, isLive)}>
      {({ documents, next }) => (
        <>
          <Table caption="Documents in the order of their keys" columns={["Key", "Revision", "Document"]}>
            {documents.map(({ namespace: group, name, revision, document }) => (
              <tr key={`${group}/${name}`}>
                <th scope="row">
                  <a
                    href={addressOf("browse", {
                      bucket,
                      namespace: words(group),
                      name: words(name),
                      "as-of": asOf,
                    })}
                  >
                    {words(group)}/{words(name)}
                  </a>
                </th>
                <td class="number">{count(revision)}</td>
                <td>
                  <code class="preview">{(JSON.stringify(document) ?? "").slice(0, MAX_CHARACTERS)}</code>
                </td>
              </tr>
            ))}
          </Table>
          {documents.length === 0 ? <p class="quiet">No documents match.</p> : null}
          <p>
            {cursor === undefined ? null : (
              <a href={addressOf("browse", { bucket, namespace, prefix, where, "as-of": asOf })}>
                First page
              </a>
            )}{" "}
            {next === undefined ? null : (
              <a href={addressOf("browse", { ...parameters, bucket, cursor: next })}>Next page</a>
            )}
          </p>
        </>
      )}
    </Panel>
  );
}

function asideOf(page: Page | undefined, isLive: boolean): string {
  if (page === undefined) return "";
  return `${counted(page.documents.length, "document")} as of transaction ${count(page.txId)}${isLive ? ", shows changes as this node receives them" : ""}`;
}

function pageIn(answer: JsonAnswer): Page {
  const txId = Number(answer.headers.get("cairn-tx"));
  return { documents: bodyOf(answer, "list"), txId, next: nextCursor(answer) };
}

/** Returns a number that increases soon after each change. */
export function useChanges(followed: Followed): number {
  const [version, setVersion] = useState(0);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  useFollowed(followed, () => {
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      setVersion((before) => before + 1);
    }, RELOAD_MS);
  });
  return version;
}
