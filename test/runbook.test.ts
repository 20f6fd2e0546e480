// @module-tag nats
// @module-tag rest/slow
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { freePort, startNatsServer } from "@cairn/log-nats/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCheckpoint, NodeProcess, ROOT, runCairn } from "@cairn/test-support/cairn-process";

async function page(name: string): Promise<string> {
  return await readFile(path.join(ROOT, "docs", name), "utf8");
}

const runbook = await page("runbook.md");
const rows = `${runbook}${await page("production.md")}`.match(/^\|.*$/gm) ?? [];
const commands = rows.flatMap((row) => row.match(/(?<=`cairn )[^`]+/g) ?? []);

const ends: (() => Promise<unknown>)[] = [];
let folder = "";
/** What a command has from the unit of node a. */
let unit: NodeJS.ProcessEnv = {};

/** Two nodes on NATS with a checkpoint and a backup of the log, and the configuration in the working directory. */
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-runbook-"));
  ends.push(() => rm(folder, { recursive: true, force: true }));
  const nats = await startNatsServer();
  ends.push(() => nats.close());
  const port = await freePort();
  unit = { CAIRN_NODE_ID: "a", CAIRN_DIR: path.join(folder, "a") };
  const store = `{:cairn/module cairn.checkpoint/->filesystem-checkpoint-store :path "${folder}/store" :shared-store true}`;
  await writeFile(
    path.join(folder, "cairn.edn"),
    `{:cairn/tx-log {:cairn/module cairn.nats/->tx-log :servers ["${nats.url}"] :trim {:keep "P1D"}}
 :cairn/index-store {:kv-store {:checkpointer {:store ${store}
                                               :retention-policy {:retain-at-least 3}
                                               :approx-frequency "PT6H"
                                               :log-backup {:every "PT2S"}}}}
 :cairn/http-server {:port ${port}}}`,
  );
  const nodes = ["a", "b"].map((id) => {
    const env = { CAIRN_HTTP_PORT: id === "a" ? String(port) : "0" };
    const node = NodeProcess.start({ id, dir: path.join(folder, id), cwd: folder, env });
    ends.unshift(() => node.stop());
    return node;
  });
  for (const node of nodes) await node.ready();
  const url = `http://127.0.0.1:${port}`;
  await fetch(`${url}/api/v1/orders/1`, { method: "PUT", body: "{}" });
  await createCheckpoint(url);
});

afterAll(async () => {
  for (const end of ends) await end();
});

describe("docs/runbook.md and docs/production.md", () => {
  it.each([...new Set(commands)])("name `cairn %s`, which succeeds at a healthy cluster", async (command) => {
    const result = await runCairn(command.split(" "), { cwd: folder, env: unit });
    expect(result).toMatchObject({ code: 0 });
  });

  it("lead from each alert to a row with a command", async () => {
    const alerts = (await page("grafana/alerts.yml")).match(/(?<=- alert: )\w+/g) ?? [];
    const named = rows
      .filter((row) => /\| `cairn /.test(row))
      .flatMap((row) => row.match(/\bCairn[A-Z]\w+/g) ?? []);
    expect(named.toSorted()).toEqual(alerts.toSorted());
  });
});
