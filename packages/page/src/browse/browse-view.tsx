import { addressOf, goTo } from "../data/place.ts";
import { Buckets } from "./buckets.tsx";
import { DocumentView } from "./document-view.tsx";
import { Documents } from "./documents.tsx";

export type BrowseParameters = Readonly<Record<string, string>>;

/** The buckets, the documents of one, or one document. */
export function BrowseView({ parameters }: { readonly parameters: BrowseParameters }) {
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

function BrowseForm({ parameters }: { readonly parameters: BrowseParameters }) {
  const { bucket, name, namespace } = parameters;
  const fields = name === undefined ? FIELDS : FIELDS.filter((field) => field.name === "as-of");
  return (
    <form
      class="filters"
      onSubmit={(event) => {
        event.preventDefault();
        const given = new FormData(event.currentTarget);
        const wanted = Object.fromEntries(
          fields.map((field) => [field.name, String(given.get(field.name)).trim()]),
        );
        goTo(addressOf("browse", { bucket, namespace, name, ...wanted }));
      }}
    >
      {fields.map((field) => (
        <label key={field.name}>
          {field.label}{" "}
          <input
            name={field.name}
            defaultValue={parameters[field.name] ?? ""}
            placeholder={field.placeholder}
          />
        </label>
      ))}
      <button type="submit">Show</button>
      {fields.length > 1 ? (
        <span class="quiet">“As of” is a transaction or a time, such as 1200 or 2026-11-20T06:00.</span>
      ) : null}
    </form>
  );
}
