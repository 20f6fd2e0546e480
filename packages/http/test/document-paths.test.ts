import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { DocumentKey } from "@cairn/client";
import { documentUrl, parseDocumentPath } from "../src/requests/address.ts";
import { serve } from "@cairn/test-support/nodes/served-node";

describe("the address of a document", () => {
  test.each([
    ["/api/v1/files/repo/src/a%20b.c", "repo", "src/a b.c"],
    ["/api/v1/files/repo/src%2Fmain.c", "repo", "src/main.c"],
    ["/api/v1/files/repo/100%25", "repo", "100%"],
    ["/api/v1/files/repo/%2541", "repo", "%41"],
    [`/api/v1/files/repo/${"%E2%82%AC".repeat(341)}x`, "repo", `${"€".repeat(341)}x`],
    ["/api/v1/files/repo/a//b", "repo", "a//b"],
    ["/api/v1/files/repo//b", "repo", "/b"],
    ["/api/v1/files/repo/dir/", "repo", "dir/"],
    ["/api/v1/files/repo/a/../b", "repo", "a/../b"],
    ["/api/v1/files/repo/.", "repo", "."],
    ["/api/v1/files/repo/%2E%2E/x", "repo", "../x"],
    ["/api/v1/files/repo/%22quoted%22'", "repo", '"quoted"\''],
    ["/api/v1/files/repo/two%0Alines%09tab", "repo", "two\nlines\ttab"],
    ["/api/v1/files/repo/gr%C3%BC%C3%9Fe/%F0%9F%90%99", "repo", "grüße/🐙"],
    ["/api/v1/files/repo/a+b;c=d&e", "repo", "a+b;c=d&e"],
    ["/api/v1/files/repo/a%3Fb%23c", "repo", "a?b#c"],
    ["/api/v1/files/name%20space/x", "name space", "x"],
    ["/api/v1/files/alone", "default", "alone"],
    ["/api/v1/files/one%2Ftwo", "default", "one/two"],
    ["/api/v1/files/repo/__proto__", "repo", "__proto__"],
    ["/api/v1/%66iles/repo/x", "repo", "x"],
  ])("%s names the namespace %j and the name %j", async (path, namespace, name) => {
    await using served = await serve();
    expect((await served.raw("PUT", path, { body: '"here"' })).status).toBe(201);
    const [operation] = served.node.submitted[0]?.ops ?? [];
    expect(operation).toEqual(["put", "files", `${namespace}/${name}`, "here"]);
    expect((await served.raw("GET", path)).text).toBe('"here"\n');
    expect(await (await served.fetch("/api/v1/files")).json()).toMatchObject([{ namespace, name }]);
    for (const at of ["/api/v1/files", "/api/v1/buckets/files/document"]) {
      const asKey = `${at}?key=${encodeURIComponent(`${namespace}/${name}`)}`;
      expect(await (await served.fetch(asKey)).text()).toBe('"here"\n');
      expect((await served.put(asKey, "here")).status).toBe(200);
    }
    const link = documentUrl({ bucket: "files", namespace, name });
    expect((await served.fetch(link)).status).toBe(200);
    expect((await served.raw("DELETE", path)).text).toContain('"existed":true');
  });

  test("with unescaped bytes is refused, with a hint that explains how to write them", async () => {
    await using served = await serve();
    const bytes = Buffer.from("/api/v1/files/repo/grüße", "utf8").toString("latin1");
    const answer = await served.raw("GET", bytes);
    expect(answer.status).toBe(400);
    expect(JSON.parse(answer.text)).toMatchObject({ error: { hint: expect.stringContaining("%C3%BC") } });
  });

  test.each([
    "/api/v1/files/repo/%",
    "/api/v1/files/repo/%zz",
    "/api/v1/files/repo/%E0%A4",
    "/api/v1/%ff/repo/x",
    "/api/v1/buckets/files/document",
    "/api/v1/buckets/files/document?key=%zz",
    "/api/v1/buckets/files/document?key=",
    "/api/v1/buckets/files/document?key=repo/x&prefix=y",
    "/api/v1/files?key=%zz",
    "/api/v1/files?key=repo/x&namespace=other",
    "/api/v1/files?key=repo/x&where=state:running",
    "/api/v1/buckets/tx/document?key=repo/x",
    "/api/v1/files/a%2Fb/c",
    "/api/v1/files//x",
    "/api/v1/Files/repo/x",
    "/api/v1/9files/repo/x",
    `/api/v1/files/repo/${"x".repeat(1025)}`,
    `/api/v1/files/repo/${"%E2%82%AC".repeat(342)}`,
    `/api/v1/files/${"n".repeat(254)}/x`,
    `/api/v1/files/${"%E2%82%AC".repeat(85)}/x`,
  ])("%s is refused with 400", async (path) => {
    await using served = await serve();
    for (const method of ["GET", "PUT", "DELETE"]) {
      const answer = await served.raw(method, path, method === "PUT" ? { body: "1" } : {});
      expect(answer.status).toBe(400);
      expect(JSON.parse(answer.text)).toMatchObject({ error: { code: "REQUEST_INVALID" } });
    }
    expect(served.node.submitted).toEqual([]);
  });

  test.each(["tx", "events", "watch", "buckets", "digest", "policies", "sql"])(
    "never treats %s as a bucket",
    async (name) => {
      await using served = await serve();
      for (const path of [`/api/v1/${name}/default/x`, `/api/v1/${name}/a/b/c`]) {
        const answer = await served.raw("PUT", path, { body: "1" });
        expect(answer.status).toBe(404);
        expect(JSON.parse(answer.text)).toMatchObject({
          error: { code: "NOT_FOUND", hint: expect.stringContaining("reserved") },
        });
      }
    },
  );

  test.each(["/api", "/api/v1", "/api/v1/", "/api/v2/pods/a/b", "/%61pi/v1/pods/a/b", "/api//v1/pods/a"])(
    "%s is NOT_FOUND",
    async (path) => {
      await using served = await serve();
      const answer = await served.raw("GET", path);
      expect(answer.status).toBe(404);
      expect(JSON.parse(answer.text)).toMatchObject({ error: { code: "NOT_FOUND" } });
    },
  );

  test("accepts no writes if it names only a bucket", async () => {
    await using served = await serve();
    for (const path of ["/api/v1/pods", "/api/v1/pods/", "/api/v1/pods?limit=1"]) {
      for (const answer of [await served.put(path, 1), await served.fetch(path, { method: "DELETE" })])
        expect([answer.status, answer.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
    }
  });

  test("is the same after it is written and parsed", () => {
    for (const name of ["a b", "ü/%2F", "a//b/", "..", "x/./y", "?#&=+", '"\n\u0000', "🐙"]) {
      const key = { bucket: "files", namespace: "n s", name };
      const url = documentUrl(key);
      const asParameter = new URL(url, "http://node").searchParams.get("key");
      if (asParameter === null) expect(parseDocumentPath(url).key).toEqual(key);
      else expect(asParameter).toBe(`n s/${name}`);
      // The client's normalization of the address must change nothing.
      const { pathname, search } = new URL(url, "http://node");
      expect(pathname + search).toBe(url.replaceAll("'", search === "" ? "'" : "%27"));
    }
  });

  test("yields the same key whichever addresses were parsed before it", () => {
    const several = fc.array(fc.oneof(address, likely), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(several, (urls) => {
        const alone = urls.map((url) => {
          // After an address in another namespace, nothing is remembered that this one could begin with.
          parseDocumentPath("/api/v1/other/other/x");
          return keyAt(url);
        });
        expect(urls.map(keyAt)).toEqual(alone);
      }),
      { numRuns: 2_000 },
    );
  });
});

/** Returns the key of the document at an address; undefined if there is none. */
function keyAt(url: string): DocumentKey | undefined {
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
