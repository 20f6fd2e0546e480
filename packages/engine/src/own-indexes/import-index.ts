import { CairnError } from "@cairn/kv/threads";
import type { OwnIndex, OwnIndexModule, ServedIndex } from "./own-index.ts";

/** The methods that an index must have unless it is only asked. */
const REQUIRED = ["position", "apply", "close"] as const satisfies (keyof OwnIndex)[];

/** Imports the module of an index of one's own, and opens the index. Throws `CONFIG_MODULE` if it returns none. */
export async function importIndex(
  { module: { url, export: name }, options, context }: ServedIndex,
  readOnly: boolean,
  onNotice: (sentence: string) => void,
): Promise<OwnIndex> {
  const exports = (await import(url)) as Readonly<Record<string, unknown>>;
  const create = exports[name];
  if (typeof create !== "function") throw notAnIndex(`${url} exports no function ${name}`);
  const own = await (create as OwnIndexModule)(options, { ...context, readOnly, onNotice });
  const missing = readOnly ? [] : REQUIRED.filter((method) => typeof own?.[method] !== "function");
  if (missing.length > 0) throw notAnIndex(`${url}#${name} returned an object without ${missing.join(", ")}`);
  return own;
}

function notAnIndex(what: string): CairnError {
  return new CairnError(
    "CONFIG_MODULE",
    `${what}.`,
    "Export a function that returns an index, as docs/own-indexes.md describes.",
  );
}
