import { mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { NodeStatus } from "@cairn/node";
import { NodeProcess } from "@cairn/test-support/cairn-process";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

let folder = "";
let nodes: NodeProcess[] = [];
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-log-files-"));
});
afterEach(async () => {
  await Promise.all(nodes.splice(0).map(async (node) => await node.kill()));
  await rm(folder, { recursive: true, force: true });
});

const data = (): string => path.join(folder, "data");

async function started(): Promise<NodeProcess> {
  const node = NodeProcess.start({ id: "one", dir: data() });
  nodes.push(node);
  await node.ready();
  return node;
}

interface Answer {
  readonly status: number;
  readonly error?: { readonly code: string; readonly message: string; readonly hint: string };
}

async function put(node: NodeProcess, key: string): Promise<Answer> {
  const url = `${await node.url()}/api/v1/things/${key}`;
  const response = await fetch(url, { method: "PUT", body: JSON.stringify(key) });
  return { status: response.status, ...((await response.json()) as Pick<Answer, "error">) };
}

async function has(node: NodeProcess, key: string): Promise<boolean> {
  const response = await fetch(`${await node.url()}/api/v1/things/${key}`);
  await response.arrayBuffer();
  return response.status === 200;
}

/** Removes the file LOCK from all databases, as a script does that mistakes them for remains. */
async function removeLocks(at: string): Promise<void> {
  for (const name of await readdir(at, { recursive: true }))
    if (path.basename(name) === "LOCK") await rm(path.join(at, name));
}

const warnings = ({ log }: NodeStatus): string[] => log.warnings.map(({ message }) => message);

describe("a node whose embedded log is no longer its own", () => {
  it(
    "acknowledges nothing that a restart would not find: a second node has opened it, because its lock was removed",
    { tags: "rest/slow" },
    async () => {
      const first = await started();
      const acknowledged = new Set<string>();
      const write = async (node: NodeProcess, key: string): Promise<Answer> => {
        const answer = await put(node, key);
        if (answer.status === 201) acknowledged.add(key);
        return answer;
      };
      await write(first, "before");
      await removeLocks(data());
      const second = await started();
      for (let n = 0; n < 5; n += 1) {
        expect((await write(first, `first-${n}`)).status).toBe(503);
        expect((await write(second, `second-${n}`)).status).toBe(201);
      }
      const { failure } = await first.status();
      expect(failure).toMatchObject({
        code: "INDEX_LOCKED",
        hint: expect.stringContaining("Stop both nodes"),
      });
      await first.stop();
      await second.stop();
      const again = await started();
      expect(acknowledged.size).toBe(6);
      for (const key of acknowledged) expect(await has(again, key)).toBe(true);
    },
  );

  it(
    "refuses writes with the reason, which /status repeats, while its folder is elsewhere, and continues afterwards",
    { tags: "rest/slow" },
    async () => {
      const node = await started();
      expect((await put(node, "before")).status).toBe(201);
      await rename(path.join(data(), "one-log"), path.join(folder, "elsewhere"));
      const { status, error } = await put(node, "meanwhile");
      expect(status).toBe(503);
      expect(error).toMatchObject({ code: "LOG_UNREACHABLE" });
      expect(error?.message).toContain("moved, removed or replaced while the log was open");
      for (let n = 0; n < 20; n += 1) expect(warnings(await node.status())).toEqual([error?.message]);
      await rename(path.join(folder, "elsewhere"), path.join(data(), "one-log"));
      await vi.waitFor(async () => expect((await put(node, "after")).status).toBe(201), 10_000);
      await vi.waitFor(async () => expect(warnings(await node.status())).toEqual([]), 10_000);
      await node.stop();
      const again = await started();
      expect(await has(again, "before")).toBe(true);
      expect(await has(again, "after")).toBe(true);
    },
  );
});
