import type { ComponentChildren } from "preact";
import { addressOf, type PagePlace } from "../data/place.ts";

interface FilterFormProps {
  readonly view: PagePlace["view"];
  readonly parameters: Readonly<Record<string, string | undefined>>;
  readonly fields: readonly { readonly name: string; readonly label: string; readonly placeholder: string }[];
  readonly action: string;
  readonly children?: ComponentChildren;
}

/** A form that goes to the same view with other parameters. */
export function FilterForm({ view, parameters, fields, action, children }: FilterFormProps) {
  return (
    <form
      class="filters"
      onSubmit={(event) => {
        event.preventDefault();
        const given = new FormData(event.currentTarget);
        const wanted = fields.map(({ name }) => [name, String(given.get(name)).trim()]);
        location.assign(addressOf(view, { ...parameters, ...Object.fromEntries(wanted) }));
      }}
    >
      {fields.map(({ name, label, placeholder }) => (
        <label key={name}>
          {label} <input name={name} defaultValue={parameters[name] ?? ""} placeholder={placeholder} />
        </label>
      ))}
      <button type="submit">{action}</button>
      {children}
    </form>
  );
}
