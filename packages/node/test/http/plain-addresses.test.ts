import fc from "fast-check";
import { expect, it } from "vitest";
import type { DocumentKey } from "@cairn/client";
import { parseDocumentPath } from "../../src/http/requests/address.ts";
import { PlainAddresses } from "../../src/http/plain-addresses.ts";

/** Returns the key that the routes find; undefined if the address does not belong to a document, or has a query. */
function expected(url: string): DocumentKey | undefined {
  if (url.includes("?")) return undefined;
  try {
    return parseDocumentPath(url).key;
  } catch {
    return undefined;
  }
}

const part = fc.oneof(
  fc.constantFrom(
    "pods",
    "default",
    "a",
    "A",
    "a%2Fb",
    "%41",
    "%zz",
    "..",
    ".",
    "",
    "tx",
    "x?y=1",
    "x?",
    "a#b",
  ),
  fc.constantFrom(
    "\u00e9",
    "a b",
    "a\0b",
    "%00",
    "%C3%BC",
    "x".repeat(1_024),
    "x".repeat(1_025),
    "n/./m",
    "a//b",
  ),
  fc.string({ maxLength: 8 }),
);

const address = fc
  .tuple(
    fc.constantFrom("/api/v1/", "/api/v1", "/", "/health/", "/api/v1/pods/default/"),
    fc.array(part, { maxLength: 4 }),
  )
  .map(([begin, parts]) => begin + parts.join("/"));

/** Addresses in a few namespaces, so that consecutive ones share their beginning. */
const likely = fc
  .tuple(fc.constantFrom("default", "%25zz", "%zz", "x%3F", "x?"), part)
  .map(([namespace, name]) => `/api/v1/pods/${namespace}/${name}`);

it("an address yields the same document key as the routes do, whichever addresses were read before it", () => {
  const several = fc.array(fc.oneof(address, likely), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(several, (urls) => {
      const addresses = new PlainAddresses();
      expect(urls.map((url) => addresses.keyAt(url))).toEqual(urls.map(expected));
    }),
    { numRuns: 2_000 },
  );
});
