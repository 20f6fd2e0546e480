/** What a token says, or why it says nothing; `offset` counts from the token's first character. */
export type Decoded<T> = { readonly value: T } | { readonly fault: string; readonly offset: number };

const ESCAPES: Readonly<Record<string, string>> = {
  t: "\t",
  r: "\r",
  n: "\n",
  b: "\b",
  f: "\f",
  "\\": "\\",
  '"': '"',
};

/** The text of a string token, its quotes taken off already. */
export function decodeString(raw: string): Decoded<string> {
  let text = "";
  let from = 0;
  for (let at = raw.indexOf("\\"); at !== -1; at = raw.indexOf("\\", from)) {
    text += raw.slice(from, at);
    const letter = raw[at + 1] ?? "";
    const plain = ESCAPES[letter];
    if (plain !== undefined) {
      text += plain;
      from = at + 2;
      continue;
    }
    const digits = raw.slice(at + 2, at + 6);
    if (letter !== "u" || !/^[0-9a-fA-F]{4}$/.test(digits)) {
      return {
        fault: `EDN knows no escape \\${letter}; it has \\t \\r \\n \\b \\f \\\\ \\" and \\u with four digits.`,
        offset: at,
      };
    }
    text += String.fromCharCode(Number.parseInt(digits, 16));
    from = at + 6;
  }
  return { value: text + raw.slice(from) };
}

/** The value of a number token. Ratios and other bases are refused: no parameter takes them. */
export function decodeNumber(raw: string): Decoded<number> {
  if (!/^[+-]?(?:0|[1-9][0-9]*)(?:N|(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?M?)$/.test(raw)) {
    return {
      fault: `${raw} is not a number that a configuration can hold; write it in decimal digits.`,
      offset: 0,
    };
  }
  const value = Number(raw.replace(/[NM]$/, ""));
  if (!Number.isFinite(value) || Math.abs(value) > Number.MAX_SAFE_INTEGER) {
    return { fault: `${raw} is too large; numbers go up to ${Number.MAX_SAFE_INTEGER}.`, offset: 0 };
  }
  return { value };
}

/** The name of a keyword token (`:crux/module` gives `crux/module`). */
export function decodeKeyword(raw: string): Decoded<string> {
  const name = raw.slice(1);
  if (name.startsWith(":"))
    return {
      fault: `${raw} depends on a namespace of Clojure code; write it out with one colon.`,
      offset: 0,
    };
  if (!isName(name)) return { fault: `${raw} is not a keyword.`, offset: 0 };
  return { value: name };
}

/** Whether a text may be a symbol's or keyword's name: parts around at most one slash, none of them empty. */
export function isName(name: string): boolean {
  return /^[^/]+(?:\/[^/]+)?$/.test(name) && !name.endsWith(":");
}
