import { madeOnce } from "@cairn/text";
import type { Json } from "@cairn/client";
import type { FieldIndex } from "../policies/active-policies.ts";
import { fieldValue } from "../../policies/field-values.ts";
import { findMembers, type MemberPlace, BACKSLASH, QUOTE } from "./json-members.ts";
import { indexedText } from "../rows/field-row-keys.ts";
import { asBuffer } from "../rows/row-keys.ts";
import { VERSION_HEAD, type VersionValue, versionValueJson } from "../rows/version-values.ts";

/** One value ({@link indexedText}) for each indexed field of the bucket; undefined if it has no indexable value. */
type FieldTexts = readonly (string | undefined)[];

/** The prepared search for several indexed fields of one bucket. */
interface Search {
  /** The names of the top-level members in the fields' paths, without duplicates. */
  readonly names: readonly Uint8Array[];
  /** The results of the last call. The next call reuses the array. */
  readonly places: readonly MemberPlace[];
  /** For each field, the index of its name in `names`, and the rest of its path. */
  readonly fields: readonly { readonly name: number; readonly rest: readonly string[] }[];
}

const searches = new WeakMap<readonly FieldIndex[], Search>();

const NONE: FieldTexts = [];

/** Returns the values under which a version's document is indexed; an empty array for a deletion. */
export function fieldTexts(value: VersionValue | undefined, indexes: readonly FieldIndex[]): FieldTexts {
  if (value === undefined) return NONE;
  const texts = plainTexts(value, VERSION_HEAD, indexes);
  if (texts !== undefined) return texts;
  const document = versionValueJson(value);
  return document === undefined ? NONE : parsedTexts(document, indexes);
}

/** Like {@link fieldTexts}, but for a document given as JSON. */
export function documentTexts(json: Uint8Array, indexes: readonly FieldIndex[]): FieldTexts {
  return (
    plainTexts(json, 0, indexes) ?? parsedTexts(JSON.parse(asBuffer(json).toString("utf8")) as Json, indexes)
  );
}

function parsedTexts(document: Json, indexes: readonly FieldIndex[]): FieldTexts {
  return indexes.map(({ path }) => indexedText(fieldValue(document, path)));
}

/** Returns the values without parsing the whole document; undefined if parsing is necessary. */
function plainTexts(bytes: Uint8Array, from: number, indexes: readonly FieldIndex[]): FieldTexts | undefined {
  const search = searchFor(indexes);
  if (!findMembers(bytes, from, search.names, search.places)) return undefined;
  return search.fields.map(({ name, rest }) => {
    const place = search.places[name];
    return place === undefined || place.begin < 0 ? undefined : textAt(bytes, place, rest);
  });
}

function textAt(bytes: Uint8Array, { begin, end }: MemberPlace, rest: readonly string[]): string | undefined {
  const text = rest.length === 0 ? plainText(bytes, begin, end) : undefined;
  if (text !== undefined) return indexedText(text);
  const member = JSON.parse(asBuffer(bytes).toString("utf8", begin, end)) as Json;
  return indexedText(fieldValue(member, rest));
}

function searchFor(indexes: readonly FieldIndex[]): Search {
  return madeOnce(searches, indexes, () => {
    const names = [...new Set(indexes.map(({ path: [name = ""] }) => name))];
    return {
      names: names.map((name) => Buffer.from(name, "utf8")),
      places: names.map(() => ({ begin: -1, end: -1 })),
      fields: indexes.map(({ path: [name = "", ...rest] }) => ({ name: names.indexOf(name), rest })),
    };
  });
}

/** Decodes the JSON string from `begin` to `end`, quotes included; undefined if it is not a string or has an escape. */
function plainText(json: Uint8Array, begin: number, end: number): string | undefined {
  if (json[begin] !== QUOTE || json[end - 1] !== QUOTE || end - begin < 2) return undefined;
  for (let at = begin + 1; at < end - 1; at++) if (json[at] === BACKSLASH) return undefined;
  return asBuffer(json).toString("utf8", begin + 1, end - 1);
}
