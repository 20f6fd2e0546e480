// The package has types, but its export map hides them; this is the part of them that edn.ts uses.
declare module "@nextjournal/lezer-clojure" {
  interface SyntaxNode {
    readonly name: string;
    readonly type: { readonly isError: boolean };
    readonly from: number;
    readonly to: number;
    readonly firstChild: SyntaxNode | null;
    readonly nextSibling: SyntaxNode | null;
  }
  export const parser: { parse(text: string): { readonly topNode: SyntaxNode } };
}
