import { describe, expect, test } from "vitest";
import { serve } from "./served-node.ts";

describe("a document", () => {
  test("is answered as it was put, with its revision as ETag", async () => {
    await using served = await serve();
    const put = await served.put("/api/v1/pods/default/web-0", { cpu: 1 });
    expect(put.status).toBe(201);
    const { txId } = (await put.json()) as { txId: number };
    const got = await served.fetch("/api/v1/pods/default/web-0");
    expect(got.status).toBe(200);
    expect(got.headers.get("etag")).toBe(`"${txId}"`);
    expect(got.headers.get("content-type")).toBe("application/json; charset=utf-8");
    expect(await got.text()).toBe('{"cpu":1}');
  });
});
