import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { crc32 } from "node:zlib";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import type { CairnNode } from "../../src/node/node.ts";
import { startNode } from "../../src/node/start-node.ts";

const MAIN = fileURLToPath(new URL("../../dist/bundle/cli/main.js", import.meta.url));

let dir = "";
const nodes: CairnNode[] = [];
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), "cairn-first-version-"));
});
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()));
  await rm(dir, { recursive: true, force: true });
});

async function start(id: string, log = path.join(dir, `${id}-log`)): Promise<CairnNode> {
  const node = await startNode(
    {
      "cairn/node": { id, dir: path.join(dir, id) },
      "cairn/tx-log": { "cairn/module": "cairn.embedded/->tx-log", path: log },
      "cairn/http-server": { port: 0 },
    },
    { env: {} },
  );
  node.ready.catch(() => {});
  nodes.push(node);
  return node;
}

/** Frames a message like version 0.1.0. */
function ofFirstVersion(body: string): Buffer {
  return Buffer.from(`cairn/1 ${crc32(body).toString(16).padStart(8, "0")}\n${body}`);
}

it("a node recognizes a log of version 0.1.0 that lost its beginning", async () => {
  const folder = path.join(dir, "trimmed-log-of-0.1.0");
  const log = await openEmbeddedTxLog({ path: folder });
  await log.create((id) => ofFirstVersion(JSON.stringify({ birth: { log: id, offset: 0 } })));
  for (let n = 2; n <= 5; n += 1) await log.append(ofFirstVersion('{"ops":[["delete","pods","default/a"]]}'));
  await log.trim?.(4);
  await log.close();

  const refused = await start("refused", folder);
  await vi.waitFor(() => expect(refused.phase).toBe("failed"));
  const { failure } = await refused.status();
  expect(failure).toMatchObject({ code: "LOG_DIFFERENT", hint: expect.stringContaining("cairn load") });
  expect(failure?.message).toContain("0.1.0");
});

it("a node refuses a log of version 0.1.0, whose documents can be transferred according to the hint", async () => {
  const folder = path.join(dir, "log-of-0.1.0");
  const log = await openEmbeddedTxLog({ path: folder });
  await log.create((id) => ofFirstVersion(JSON.stringify({ birth: { log: id, offset: 0 } })));
  await log.close();

  const refused = await start("refused", folder);
  await vi.waitFor(() => expect(refused.phase).toBe("failed"));
  const { failure } = await refused.status();
  expect(failure).toMatchObject({ code: "LOG_DIFFERENT" });
  expect(failure?.message).toContain("0.1.0");
  await refused.close();
  const again = await openEmbeddedTxLog({ path: folder });
  expect(await again.bounds()).toEqual({ first: 1, last: 1 });
  await again.close();

  // The old node's HTTP interface is the same as this version's.
  const [old, next] = [await start("old"), await start("next")];
  await Promise.all([old.ready, next.ready]);
  const documents = Array.from({ length: 1_500 }, (_, n) => ({ name: `name ${n}/ü`, n, text: `"\\ ${n}` }));
  const ops = documents.map(
    (document) => ["put", "pods", `team-${document.n % 3}/${document.name}`, document] as const,
  );
  await old.await((await old.submit({ ops })).txId);
  const command = /run (cairn .*NEW-NODE)\./.exec(failure?.hint ?? "")?.[1] ?? "";
  const line = command
    .replaceAll("cairn ", `"${process.execPath}" "${MAIN}" `)
    .replace("BUCKET", "pods")
    .replace("OLD-NODE", old.url ?? "")
    .replace("NEW-NODE", next.url ?? "");
  await promisify(execFile)("sh", ["-c", line]);
  await vi.waitFor(async () => expect((await next.buckets()).buckets[0]?.documents).toBe(documents.length));
  const lists = [old, next].map(async (node) => {
    const first = await node.list({ bucket: "pods", limit: 1_000 });
    const second = await node.list({
      bucket: "pods",
      limit: 1_000,
      ...(first.cursor === undefined ? {} : { cursor: first.cursor }),
    });
    return [...first.documents, ...second.documents].map(({ namespace, name, json }) => ({
      namespace,
      name,
      json,
    }));
  });
  const [before, after] = await Promise.all(lists);
  expect(before).toHaveLength(documents.length);
  expect(after).toEqual(before);
});
