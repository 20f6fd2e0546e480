import { useEffect, useState } from "preact/hooks";

export const VIEWS = ["cluster", "browse", "queues", "watch"] as const;

/** A view, and what it shows. The address contains both, so that a place can be shared and Back returns to it. */
export interface PagePlace {
  readonly view: (typeof VIEWS)[number];
  readonly parameters: Readonly<Record<string, string>>;
}

/** Returns the address of a place. Empty parameters are omitted. */
export function addressOf(
  view: PagePlace["view"],
  parameters: Readonly<Record<string, string | undefined>> = {},
): string {
  const given = Object.entries(parameters).filter(
    (entry): entry is [string, string] => entry[1] !== undefined && entry[1] !== "",
  );
  const query = new URLSearchParams(given).toString();
  return `#/${view}${query === "" ? "" : `?${query}`}`;
}

/** Goes to a place, to which Back does not return if `replace` is true. */
export function goTo(address: string, { replace = false } = {}): void {
  if (replace) location.replace(address);
  else location.assign(address);
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
