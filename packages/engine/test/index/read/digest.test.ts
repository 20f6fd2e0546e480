import { createHash } from "node:crypto";
import { memoryProvider } from "@cairn/kv";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { TxOperation } from "@cairn/client";
import { IndexStore } from "../../../src/index/index-store.ts";
import { emptyState } from "../../../src/index/rows/index-state.ts";
import { encodeBirthRecord, encodeTransaction } from "../../../src/transactions/transaction-codec.ts";

const birth = { log: "log-1", offset: 0 };
const empty = emptyState({ id: "log-1", name: "cairn", bounds: { first: 1, last: 1 }, birth });

let index: IndexStore;
let position = 0;
beforeEach(async () => {
  index = await IndexStore.open(await memoryProvider().open("/nonexistent/in-memory"), empty);
  position = 0;
  await apply(encodeBirthRecord(birth));
});
afterEach(async () => await index.close());

async function apply(payload: Uint8Array): Promise<void> {
  position += 1;
  await index.apply([{ position, time: position * 1_000, payload }]);
}

async function submit(...ops: TxOperation[]): Promise<void> {
  await apply(encodeTransaction({ ops }, birth.log));
}

/** Encodes a number of a version's value as docs/internals/index-format.md specifies. */
function number(value: number): Buffer {
  return Buffer.from(Array.from({ length: 8 }, (_, place) => Math.floor(value / 128 ** (7 - place)) % 128));
}

function length(bytes: Uint8Array): Buffer {
  const size = Buffer.alloc(4);
  size.writeUInt32BE(bytes.length);
  return size;
}

/** Encodes a version as docs/internals/index-format.md specifies for digests: flags, revision, time, document. */
function version(stem: string, revision: number, json: string | undefined): Buffer {
  const key = Buffer.from(stem.replaceAll(" ", "\0"));
  const content = Buffer.concat([
    Buffer.from([json === undefined ? 1 : 0]),
    number(revision),
    number(revision * 1_000),
    Buffer.from(json ?? ""),
  ]);
  return Buffer.concat([length(key), key, length(content), content]);
}

describe("the digest", () => {
  it("is the digest that docs/internals/index-format.md specifies, computed here from that page alone", async () => {
    await submit(["put", "pods", "default/b", { n: 1 }], ["put", "pods", "default/a", "x"]);
    await submit(["put", "pods", "default/a", "y"]);
    await submit(["delete", "pods", "default/b"]);
    await submit(["put", "nodes", "n1", null]);
    const fed = Buffer.concat([
      Buffer.from("cairn-digest/1\nlog-1\n5\n"),
      version("nodes default n1 ", 5, "null"),
      version("pods default a ", 2, '"x"'),
      version("pods default a ", 3, '"y"'),
      version("pods default b ", 2, '{"n":1}'),
      version("pods default b ", 4, undefined),
    ]);
    const expected = createHash("sha256").update(fed).digest("hex");
    expect(await index.digest()).toEqual({ txId: 5, digest: `sha256:${expected}` });
  });

  it("differs after a transaction that changes only the position", async () => {
    await submit(["put", "pods", "a", 1]);
    const before = await index.digest();
    await submit(["delete", "pods", "not-there"]);
    expect(await index.digest()).not.toEqual(before);
  });

  it("excludes evicted documents, including their history", async () => {
    await submit(["put", "pods", "secret", 1]);
    await submit(["put", "pods", "secret", 2]);
    await submit(["evict", "pods", "secret"]);
    const nothing = createHash("sha256").update("cairn-digest/1\nlog-1\n4\n").digest("hex");
    expect(await index.digest()).toEqual({ txId: 4, digest: `sha256:${nothing}` });
  });
});

describe("the digest at an earlier transaction", () => {
  it("is the digest that the index had when it ended at that transaction", async () => {
    const given: unknown[] = [undefined, await index.digest()];
    const names = ["default/a", "default/b", "other/a"];
    for (let n = 0; n < 60; n += 1) {
      const name = names[(n * 7) % 3] ?? "";
      if (n % 4 === 3) await submit(["delete", "pods", name]);
      else await submit(["put", n % 5 === 0 ? "nodes" : "pods", name, { n }]);
      given.push(await index.digest());
    }
    for (let txId = 1; txId <= position; txId += 1) expect(await index.digest(txId)).toEqual(given[txId]);
  });

  it("is refused if documents were evicted later, and is available from the last eviction on", async () => {
    await submit(["put", "pods", "default/a", 1]);
    await submit(["put", "pods", "default/b", 1]);
    await submit(["evict", "pods", "default/a"]);
    const evicted = await index.digest();
    await submit(["put", "pods", "default/b", 2]);
    await expect(index.digest(3)).rejects.toMatchObject({
      code: "CONFLICT",
      message: expect.stringContaining("Transaction 4 removed history or evicted documents") as string,
    });
    expect(await index.digest(4)).toEqual(evicted);
  });

  it("is refused for a transaction that the index does not have yet", async () => {
    await expect(index.digest(2)).rejects.toMatchObject({ code: "CONFLICT" });
    await expect(index.digest(0)).rejects.toMatchObject({
      code: "CONFLICT",
      hint: expect.stringContaining("from 1 to 1") as string,
    });
    expect(await index.digest(1)).toEqual(await index.digest());
  });
});
