import type { FieldIndex } from "../policies/active-policies.ts";
import { comparableText, fieldValue } from "../policies/policies.ts";
import type { Json } from "../tx-log/transaction.ts";
import { findMembers, type MemberPlace, plainText } from "./json-members.ts";
import { asBuffer } from "./row-key-parts.ts";
import { VERSION_HEAD, versionValueJson } from "./row-values.ts";

/** What several indexed fields of one bucket are looked for by. */
interface Search {
  /** The names of the members that they begin at, each once. */
  readonly names: readonly Uint8Array[];
  /** What the last call found: used again by the next. */
  readonly places: readonly MemberPlace[];
  /** For each field, which of the names, and the way from that member on. */
  readonly fields: readonly { readonly name: number; readonly rest: readonly string[] }[];
}

const searches = new WeakMap<readonly FieldIndex[], Search>();

/**
 * The values by which the document in a version's value is found, one for each of `indexes`; undefined where it has none. Nothing at
 * all for a deletion.
 */
export function fieldTexts(
  value: Uint8Array | undefined,
  indexes: readonly FieldIndex[],
): readonly (string | undefined)[] {
  if (value === undefined) return [];
  const search = searchFor(indexes);
  if (!findMembers(value, VERSION_HEAD, search.names, search.places)) return parsedTexts(value, indexes);
  return search.fields.map(({ name, rest }) => {
    const place = search.places[name];
    return place === undefined || place.begin < 0 ? undefined : textAt(asBuffer(value), place, rest);
  });
}

function textAt(value: Buffer, place: MemberPlace, rest: readonly string[]): string | undefined {
  const text = rest.length === 0 ? plainText(value, place) : undefined;
  if (text !== undefined) return comparableText(text);
  const member = JSON.parse(value.toString("utf8", place.begin, place.end)) as Json;
  return comparableText(fieldValue(member, rest));
}

/** By parsing all of it. */
function parsedTexts(value: Uint8Array, indexes: readonly FieldIndex[]): readonly (string | undefined)[] {
  const document = versionValueJson(value);
  if (document === undefined) return [];
  return indexes.map(({ path }) => comparableText(fieldValue(document, path)));
}

function searchFor(indexes: readonly FieldIndex[]): Search {
  let search = searches.get(indexes);
  if (search === undefined) {
    const names = [...new Set(indexes.map(({ path: [name = ""] }) => name))];
    search = {
      names: names.map((name) => Buffer.from(name, "utf8")),
      places: names.map(() => ({ begin: -1, end: -1 })),
      fields: indexes.map(({ path: [name = "", ...rest] }) => ({ name: names.indexOf(name), rest })),
    };
    searches.set(indexes, search);
  }
  return search;
}
