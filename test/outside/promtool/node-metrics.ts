import { join } from "node:path";
import { NodeProcess } from "@cairn/test-support/cairn-process";

/**
 * Returns a node's /metrics twice: right after its start, and after it has written documents, refused requests, saved
 * and verified a checkpoint, and backed up its log.
 */
export async function metricsOfNode(folder: string): Promise<string[]> {
  const checkpointer = { "log-backup": { every: "PT0.3S" } };
  const config = {
    "cairn/http-server": { port: 0 },
    "cairn/index-store": { "kv-store": { checkpointer } },
  };
  const args = ["--json", "-j", JSON.stringify(config)];
  const node = NodeProcess.start({ id: "judged", dir: join(folder, "node"), args });
  try {
    const url = await node.url();
    const metrics = async (): Promise<string> => await (await fetch(`${url}/metrics`)).text();
    const first = await metrics();
    await node.ready();
    const ask = async (method: string, at: string, body?: string): Promise<number> =>
      (await fetch(url + at, { method, ...(body === undefined ? {} : { body }) })).status;
    const statuses = [
      await ask("PUT", "/api/v1/policies", '{"indexes": {"pods": ["state"]}}'),
      await ask("PUT", "/api/v1/pods/web-0", '{"state": "running"}'),
      await ask("GET", "/api/v1/pods?where=state:running&linearizable=true"),
      await ask("GET", "/nothing"),
      await ask("POST", "/api/v1/checkpoints?await=true"),
      await ask("POST", "/api/v1/checkpoints/newest/verify"),
      await ask("POST", "/api/v1/checkpoints/checkpoint-0/verify"),
    ];
    if (statuses.join() !== "200,201,200,404,200,200,404")
      throw new Error(`the node answered ${statuses.join()}`);
    let last = await metrics();
    while (!/^cairn_log_backup_exposed_transactions(\{.*\})? 0$/m.test(last)) last = await metrics();
    return [first, last];
  } finally {
    await node.stop();
  }
}
