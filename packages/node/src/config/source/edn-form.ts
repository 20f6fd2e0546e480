/** An EDN form as defined by Clojure's reader; `from` and `to` are its offsets in the source. */
export type EdnForm = { readonly from: number; readonly to: number } & EdnContent;

type EdnContent =
  | { readonly kind: "map"; readonly items: readonly EdnForm[]; readonly namespace: string | undefined }
  | { readonly kind: "vector" | "list" | "set"; readonly items: readonly EdnForm[] }
  | { readonly kind: "string" | "symbol" | "keyword" | "character"; readonly text: string }
  | { readonly kind: "number"; readonly raw: string }
  | { readonly kind: "boolean"; readonly value: boolean }
  | { readonly kind: "nil" };

/** Reading ends at the first fault, because the text after a wrong bracket has no meaning. */
export class EdnFault {
  readonly offset: number;
  readonly message: string;
  readonly hint: string | undefined;

  constructor(offset: number, message: string, hint?: string) {
    this.offset = offset;
    this.message = message;
    this.hint = hint;
  }
}

/** Returns a string that is equal for forms that are equal as map keys or set items. */
export function identityOf(form: EdnForm, namespace?: string): string {
  switch (form.kind) {
    case "map": {
      const entries: string[] = [];
      for (let at = 0; at < form.items.length; at += 2) {
        const [key, value] = form.items.slice(at, at + 2);
        if (key !== undefined && value !== undefined)
          entries.push(`${identityOf(key, form.namespace)} ${identityOf(value)}`);
      }
      return `{${entries.toSorted().join(",")}}`;
    }
    // A list equals a vector with the same items.
    case "vector":
    case "list":
      return `[${form.items.map((item) => identityOf(item)).join(",")}]`;
    case "set":
      return `#{${form.items
        .map((item) => identityOf(item))
        .toSorted()
        .join(",")}}`;
    case "string":
      return JSON.stringify(form.text);
    case "symbol":
      return nameIn(namespace, form.text);
    case "keyword":
      return `:${nameIn(namespace, form.text)}`;
    case "character":
      return `\\${form.text}`;
    case "number":
      return numberIdentity(form.raw);
    case "boolean":
      return String(form.value);
    case "nil":
      return "nil";
  }
}

/** Resolves a name in `#:namespace{…}`: a name with a namespace keeps it, and `_/x` is `x`. */
export function nameIn(namespace: string | undefined, name: string): string {
  if (namespace === undefined) return name;
  if (name.startsWith("_/")) return name.slice(2);
  return name.includes("/") && name !== "/" ? name : `${namespace}/${name}`;
}

function numberIdentity(raw: string): string {
  const whole = /^([+-]?)(0[xX][0-9A-Fa-f]+|0[0-7]*|[1-9][0-9]*)N?$/.exec(raw);
  if (whole === null) return raw;
  const [, sign, digits = "0"] = whole;
  const value = BigInt(/^0[0-7]+$/.test(digits) ? `0o${digits.slice(1)}` : digits);
  return String(sign === "-" ? -value : value);
}

/** The hint for code used as a value. */
export const ONLY_CALL = "Write plain values; the only calls are those like (Duration/ofHours 6).";
