import type { DocumentKey } from "@cairn/client";
import { MAX_NAME } from "../text/document-key.ts";
import { DOCUMENTS, parseDocumentPath } from "./requests/document-path.ts";

/** Names that stand in an address as they are: printable ASCII without what escapes, and what begins a query. */
const AS_IT_IS = /^[!-$&->@-~]+$/;

/**
 * The documents that addresses name. Whoever reads one reads others of its namespace: what an address has in common with the one
 * before is not looked at again.
 */
export class PlainAddresses {
  /** An address up to its name, and what that part says. */
  #before = "";
  #bucket = "";
  #namespace = "";

  /** The key; undefined where the address is none of a document, or has a query. */
  keyAt(url: string): DocumentKey | undefined {
    if (this.#before !== "" && url.startsWith(this.#before)) {
      const name = url.slice(this.#before.length);
      if (name.length <= MAX_NAME && AS_IT_IS.test(name))
        return { bucket: this.#bucket, namespace: this.#namespace, name };
    }
    if (!url.startsWith(DOCUMENTS) || url.includes("?")) return undefined;
    try {
      const { key } = parseDocumentPath(url);
      if (key !== undefined) this.#remember(url, key);
      return key;
    } catch {
      return undefined;
    }
  }

  #remember(url: string, { bucket, namespace }: DocumentKey): void {
    const before = `${DOCUMENTS}${bucket}/${namespace}/`;
    // Not where a part is escaped, or the default namespace is left out.
    if (!url.startsWith(before)) return;
    this.#before = before;
    this.#bucket = bucket;
    this.#namespace = namespace;
  }
}
