import type { BucketSummary } from "@cairn/client";
import { addressOf } from "../data/place.ts";
import { bodyOf, useAsked } from "../data/polled.ts";
import { Panel } from "../parts/panel.tsx";
import { Table } from "../parts/tables.tsx";
import { count, counted, words } from "../text/amounts.ts";

const MAX_VALUES = 12;

export function Buckets() {
  const buckets = useAsked("api/v1/buckets?stale=true", (answer) =>
    bodyOf<readonly BucketSummary[]>(answer, "list"),
  );
  return (
    <Panel id="buckets" title="Buckets" source={buckets} aside={counted(buckets.value?.length, "bucket")}>
      {(all) =>
        all.length === 0 ? (
          <p class="quiet">There are no documents yet.</p>
        ) : (
          <Table caption="Buckets by name" columns={["Bucket", "Documents", "By indexed fields"]}>
            {all.map(({ name, documents, fields = {} }) => (
              <tr key={name}>
                <th scope="row">
                  <a href={addressOf("browse", { bucket: words(name) })}>{words(name)}</a>
                </th>
                <td class="number">{count(documents)}</td>
                <td>
                  {Object.entries(fields).map(([field, { counts, more }]) => (
                    <p key={field} class="values">
                      <span class="name">{field}</span>{" "}
                      {counts === null ? (
                        <span class="quiet">the index is being built</span>
                      ) : (
                        <Values bucket={words(name)} field={field} counts={counts} more={more} />
                      )}
                    </p>
                  ))}
                </td>
              </tr>
            ))}
          </Table>
        )
      }
    </Panel>
  );
}

interface ValuesProps {
  readonly bucket: string;
  readonly field: string;
  readonly counts: Readonly<Record<string, number>>;
  readonly more: boolean;
}

function Values({ bucket, field, counts, more }: ValuesProps) {
  const largest = Object.entries(counts).toSorted(([, one], [, other]) => other - one);
  return (
    <>
      {largest.slice(0, MAX_VALUES).map(([value, documents]) => (
        <a class="value" key={value} href={addressOf("browse", { bucket, where: `${field}:${value}` })}>
          {value} <span class="quiet">{count(documents)}</span>
        </a>
      ))}
      {more || largest.length > MAX_VALUES ? <span class="quiet"> and more values</span> : null}
    </>
  );
}
