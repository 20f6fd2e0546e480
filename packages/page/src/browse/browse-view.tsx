import { addressOf, type ViewProps } from "../data/place.ts";
import { FilterForm } from "../parts/filter-form.tsx";
import { Buckets } from "./buckets.tsx";
import { DocumentView } from "./document-view.tsx";
import { Documents } from "./documents.tsx";

export function BrowseView({ parameters }: ViewProps) {
  const { bucket, name } = parameters;
  if (bucket === undefined) return <Buckets />;
  return (
    <>
      <nav class="path" aria-label="Place">
        <a href={addressOf("browse")}>Buckets</a> /{" "}
        <a href={addressOf("browse", { bucket, "as-of": parameters["as-of"] })}>{bucket}</a>
        {name === undefined ? null : (
          <>
            {" "}
            / {parameters["namespace"] ?? "default"}/{name}
          </>
        )}
      </nav>
      <BrowseForm key={JSON.stringify(parameters)} parameters={parameters} />
      {name === undefined ? (
        <Documents bucket={bucket} parameters={parameters} />
      ) : (
        <DocumentView
          bucket={bucket}
          namespace={parameters["namespace"] ?? "default"}
          name={name}
          asOf={parameters["as-of"]}
          revision={parameters["revision"]}
        />
      )}
    </>
  );
}

const FIELDS = [
  { name: "namespace", label: "Namespace", placeholder: "all" },
  { name: "prefix", label: "Names that begin with", placeholder: "" },
  { name: "where", label: "Where", placeholder: "field:value" },
  { name: "as-of", label: "As of", placeholder: "now" },
];

function BrowseForm({ parameters }: ViewProps) {
  const isList = parameters["name"] === undefined;
  return (
    <FilterForm
      view="browse"
      parameters={{ ...parameters, cursor: undefined, revision: undefined }}
      fields={isList ? FIELDS : FIELDS.filter(({ name }) => name === "as-of")}
      action="Show"
    >
      {isList ? (
        <span class="quiet">“As of” is a transaction or a time, such as 1200 or 2026-11-20T06:00.</span>
      ) : null}
    </FilterForm>
  );
}
