import type { parser } from "@nextjournal/lezer-clojure";

/** A node of the grammar's tree. */
export type SyntaxNode = ReturnType<typeof parser.parse>["topNode"];

/** Thrown while EDN is read, and caught where reading began: the first fault ends it, since what follows a broken bracket means nothing. */
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

const CLOSING: Readonly<Record<string, string>> = { Map: "}", Vector: "]", List: ")", String: '"' };
/** What the grammar's error node `error` within `parent` means. */
export function grammarFault(error: SyntaxNode, parent: SyntaxNode, text: string): EdnFault {
  const found = text.slice(error.from, error.from + 1);
  if (found === "") return unclosed(parent) ?? new EdnFault(error.from, "Something is missing at the end.");
  const closing = CLOSING[parent.name];
  if (!")]}".includes(found))
    return new EdnFault(error.from, `EDN has no place for ${JSON.stringify(found)} here.`);
  const expected = closing === undefined ? "nothing is open here" : `${closing} was expected`;
  return new EdnFault(error.from, `There is a ${found} too many, or of the wrong kind: ${expected}.`);
}

/** The innermost of what is still open at the end: closing it is what was forgotten. */
function unclosed(outermost: SyntaxNode): EdnFault | undefined {
  let innermost: SyntaxNode | undefined;
  for (let node: SyntaxNode | undefined = outermost; node !== undefined; node = lastOpen(node)) {
    if (CLOSING[node.name] !== undefined) innermost = node;
  }
  if (innermost === undefined) return undefined;
  if (innermost.name === "String") return new EdnFault(innermost.from, "This text has no closing quote.");
  return new EdnFault(innermost.from, `This is never closed; a ${CLOSING[innermost.name]} is missing.`);
}

/** The last child that ends with an error of its own. */
function lastOpen(node: SyntaxNode): SyntaxNode | undefined {
  let open: SyntaxNode | undefined;
  for (let child = node.firstChild; child !== null; child = child.nextSibling) {
    if (!child.type.isError && endsWithError(child)) open = child;
  }
  return open;
}

function endsWithError(node: SyntaxNode): boolean {
  let last: SyntaxNode | null = null;
  for (let child = node.firstChild; child !== null; child = child.nextSibling) last = child;
  return last?.type.isError === true;
}

/** Why a node that the grammar knows has no place in a configuration. */
export function refusal(node: SyntaxNode, raw: string): EdnFault {
  const tag = /^#[^\s"[{(]+/.exec(raw)?.[0];
  if (node.name === "TaggedLiteral") {
    return new EdnFault(
      node.from,
      `The tag ${tag ?? "#"} means nothing in a configuration.`,
      "Write the value as plain text or a number.",
    );
  }
  if (node.name === "Set")
    return new EdnFault(node.from, "A set means nothing in a configuration.", "Write a list: [a b c].");
  if (node.name === "Character")
    return new EdnFault(
      node.from,
      `The character ${raw} means nothing in a configuration.`,
      "Write it as text in double quotes.",
    );
  return new EdnFault(
    node.from,
    `${JSON.stringify(raw.slice(0, 20))} is Clojure code, not data.`,
    "Write plain values; (Duration/ofHours 6) is the only call.",
  );
}
