import type { DocumentKey } from "@cairn/client";
import { MAX_NAME } from "../text/document-key.ts";
import { API, parseDocumentPath } from "./requests/address.ts";

/** Matches names that are sent unescaped: printable ASCII without `%`, and without `?`, which begins a query. */
const UNESCAPED = /^[!-$&->@-~]+$/;

/** Clients that read one document usually read others in its namespace, so a repeated beginning is not parsed again. */
export class PlainAddresses {
  /** The part of the previous address before the name, and the bucket and namespace in it. */
  #prefix = "";
  #bucket = "";
  #namespace = "";

  /** Returns the key in a document's address; undefined for any other address, and for an address with a query. */
  keyAt(url: string): DocumentKey | undefined {
    if (this.#prefix !== "" && url.startsWith(this.#prefix)) {
      const name = url.slice(this.#prefix.length);
      if (name.length <= MAX_NAME && UNESCAPED.test(name))
        return { bucket: this.#bucket, namespace: this.#namespace, name };
    }
    if (!url.startsWith(API) || url.includes("?")) return undefined;
    try {
      const { key } = parseDocumentPath(url);
      if (key !== undefined) this.#remember(url, key);
      return key;
    } catch {
      return undefined;
    }
  }

  #remember(url: string, { bucket, namespace }: DocumentKey): void {
    const prefix = `${API}${bucket}/${namespace}/`;
    // An address with an escaped part, or without a namespace, does not qualify.
    if (!url.startsWith(prefix)) return;
    this.#prefix = prefix;
    this.#bucket = bucket;
    this.#namespace = namespace;
  }
}
