import { useEffect, useState } from "preact/hooks";

export const VIEWS = ["cluster", "browse", "queues", "watch", "sql"] as const;

export interface ViewProps {
  readonly parameters: Readonly<Record<string, string>>;
}

/** A view, and what it shows. The address contains both, so that a place can be shared and Back returns to it. */
export interface PagePlace extends ViewProps {
  readonly view: (typeof VIEWS)[number];
}

/** Returns parameters as a query, without those that are empty. */
export function queryOf(parameters: Readonly<Record<string, string | undefined>>): string {
  const given = Object.entries(parameters).filter(
    (entry): entry is [string, string] => entry[1] !== undefined && entry[1] !== "",
  );
  return given.length === 0 ? "" : `?${new URLSearchParams(given).toString()}`;
}

export function addressOf(
  view: PagePlace["view"],
  parameters: Readonly<Record<string, string | undefined>> = {},
): string {
  return `#/${view}${queryOf(parameters)}`;
}

function currentPlace(): PagePlace {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const view = VIEWS.find((known) => known === path) ?? "cluster";
  return { view, parameters: Object.fromEntries(new URLSearchParams(query)) };
}

export function usePlace(): PagePlace {
  const [place, setPlace] = useState(currentPlace);
  useEffect(() => {
    const moved = (): void => setPlace(currentPlace());
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  return place;
}
