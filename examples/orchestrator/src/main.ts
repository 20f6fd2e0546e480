import { CairnClient, CairnClientError } from "@cairn/client";
import { runKubelet } from "./kubelet.ts";
import { runController } from "./run-controller.ts";

const HELP = `Usage: main.js controller NAME
       main.js kubelet NODE

controller  Makes the pods match the deployments. Several controllers may run, each with its own NAME; one of them acts.
kubelet     Announces NODE and runs the pods that are scheduled to it.

CAIRN_URLS       the Cairn nodes (default: http://127.0.0.1:3001,http://127.0.0.1:3002,http://127.0.0.1:3003)
CAIRN_AUTH_TOKEN the nodes' token, if they have one
LEASE_MS         how long a silent controller keeps the lease (default: 5000)
`;

const THREE_NODES = "http://127.0.0.1:3001,http://127.0.0.1:3002,http://127.0.0.1:3003";
const PODS_PER_NODE = 10;

async function main([role, name]: readonly string[]): Promise<void> {
  const { CAIRN_URLS: urls = THREE_NODES, CAIRN_AUTH_TOKEN: token } = process.env;
  const leaseMs = Number(process.env["LEASE_MS"] ?? 5_000);
  if (name === undefined || (role !== "controller" && role !== "kubelet") || !(leaseMs > 0)) {
    process.stderr.write(HELP);
    process.exitCode = 2;
    return;
  }
  const ended = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => ended.abort());
  const client = new CairnClient({ urls: urls.split(","), ...(token === undefined ? {} : { token }) });
  const { signal } = ended;
  if (role === "kubelet") await runKubelet({ client, node: name, pods: PODS_PER_NODE, signal });
  else {
    const onAction = (sentence: string): void => console.log(`${name} ${sentence}`);
    await runController({ client, name, leaseMs, signal, onAction });
  }
}

main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  if (error instanceof CairnClientError && error.hint !== undefined) console.error(`  hint: ${error.hint}`);
  process.exitCode = 3;
});
