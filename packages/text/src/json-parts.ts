const QUOTE = '"';
const BACKSLASH = 92;

/** A name of a member or a number in JSON, from the character `from` up to but not including `to`. */
export interface JsonPart {
  readonly kind: "name" | "number";
  readonly from: number;
  readonly to: number;
  /** True for a name that its object already has. JSON.parse keeps only the last of them. */
  readonly isRepeated: boolean;
  /** The names and indexes that lead here, up to the name itself. */
  readonly path: () => readonly (string | number)[];
}

/** An open object or list: the names in it so far, and the name or index of the current value. */
interface Level {
  readonly names: Set<string> | undefined;
  at: string | number;
}

/** Yields the parts of the valid JSON `text`. The function is not recursive, so the nesting may be deep. */
export function* jsonParts(text: string): Generator<JsonPart, void> {
  const levels: Level[] = [];
  const path = (): readonly (string | number)[] => levels.map(({ at }) => at);
  let [from, to] = [0, 0];
  for (let at = 0; at < text.length; at += 1) {
    const character = text.charAt(at);
    const level = levels.at(-1);
    if (character === QUOTE) {
      [from, to] = [at, closingQuote(text, at) + 1];
      at = to - 1;
    } else if (character === "{") levels.push({ names: new Set(), at: "" });
    else if (character === "[") levels.push({ names: undefined, at: 0 });
    else if (character === "}" || character === "]") levels.pop();
    else if (character === "," && typeof level?.at === "number") level.at += 1;
    else if (character === ":" && level?.names !== undefined) {
      const name = JSON.parse(text.slice(from, to)) as string;
      level.at = name;
      yield { kind: "name", from, to, isRepeated: level.names.has(name), path };
      level.names.add(name);
    } else if (character === "-" || isDigit(text.charCodeAt(at))) {
      const end = numberEnd(text, at + 1);
      yield { kind: "number", from: at, to: end, isRepeated: false, path };
      at = end - 1;
    }
  }
}

export function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}

export function closingQuote(text: string, from: number): number {
  for (let at = text.indexOf(QUOTE, from + 1); ; at = text.indexOf(QUOTE, at + 1)) {
    let before = at - 1;
    while (text.charCodeAt(before) === BACKSLASH) before -= 1;
    // An even number of backslashes escape one another, not the quote.
    if ((at - before) % 2 === 1) return at;
  }
}

/** Returns the index after the end of the number that contains `at`. */
export function numberEnd(text: string, at: number): number {
  let end = at;
  // Digits, signs, the point, and e or E.
  for (;;) {
    const code = text.charCodeAt(end);
    if (!isDigit(code) && code !== 46 && code !== 45 && code !== 43 && !isExponent(code)) return end;
    end += 1;
  }
}

export function isExponent(code: number): boolean {
  return code === 101 || code === 69;
}
