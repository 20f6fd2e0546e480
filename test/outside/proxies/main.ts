// Restarts three nodes one after the other behind each proxy of docs/proxies.md: node test/dist/outside/proxies/main.js [--rounds N]
// With --from PATH, a built checkout of an earlier version, the nodes begin as that version, and are upgraded.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { freePort, startNatsServer } from "@cairn/log-nats/testing";
import { NodeProcess } from "@cairn/test-support/cairn-process";
import { type Build, givenBuild, NEW } from "../../skew/builds.ts";
import { Load } from "./load.ts";
import { PROXIES, startProxy } from "./proxies.ts";

/** The value that docs/proxies.md recommends. */
const DRAIN = "PT5S";
/** So many lines of about 1,000 bytes are more than any request but a batch may have by default. */
const LINES = 6_000;

const { values } = parseArgs({
  options: { rounds: { type: "string" }, seed: { type: "string" }, from: { type: "string" } },
});
const rounds = Number(values.rounds ?? 1);
const earlier = values.from === undefined ? NEW : givenBuild(values.from);

for (const name of PROXIES) {
  const folder = await mkdtemp(join(tmpdir(), "cairn-proxies-"));
  const nats = await startNatsServer({ storeDir: join(folder, "nats") });
  const ports = await Promise.all([1, 2, 3].map(() => freePort()));
  const start = (at: number, { program }: Build): NodeProcess =>
    NodeProcess.start({
      program,
      id: `node-${at}`,
      dir: join(folder, `node-${at}`),
      args: ["--json", "-j", JSON.stringify({ "cairn/http-server": { drain: DRAIN } })],
      env: { NATS_URL: nats.url, CAIRN_HTTP_PORT: String(ports[at] ?? 0) },
    });
  const nodes = [0, 1, 2].map((at) => start(at, earlier));
  await Promise.all(nodes.map((node) => node.ready()));
  const proxy = await startProxy(name, join(folder, name), ports);
  const line = `${JSON.stringify({ ops: [["put", "batch", "default/a", "x".repeat(1_000)]] })}\n`;
  const headers = { "content-type": "application/x-ndjson" };
  const batch = await fetch(`${proxy.url}/api/v1/tx/batch`, {
    method: "POST",
    headers,
    body: line.repeat(LINES),
  });
  process.stdout.write(`proxies: ${name}, a batch of ${LINES * line.length} bytes: ${batch.status}\n`);
  if (!batch.ok) process.exitCode = 1;
  for (const [what, end, permitted] of [
    ["restarts", (node: NodeProcess) => node.stop(), /^[A-Z]+ 2\d\d$/],
    // docs/proxies.md: nginx sends a PUT again, whatever its preconditions are.
    ["kills", (node: NodeProcess) => node.kill(), name === "nginx" ? /./ : /^(?!CREATE 412)/],
  ] as const) {
    const load = new Load(proxy.url);
    let awayMs = 0;
    for (let round = 0; round < rounds; round += 1) {
      for (const [at, node] of nodes.entries()) {
        await delay(2_000);
        await end(node);
        const ended = performance.now();
        nodes[at] = start(at, NEW);
        await nodes[at]?.ready();
        awayMs = Math.max(awayMs, performance.now() - ended);
      }
    }
    await delay(2_000);
    await load.stop();
    const answers = [...load.answers].map(([answer, count]) => `${count} ${answer}`).join(", ");
    const seconds = load.seconds.toFixed(0);
    process.stdout.write(
      `proxies: ${name}, ${3 * rounds} ${what} (at most ${awayMs.toFixed(0)} ms until ready), ${load.rate.toFixed(0)} requests/s for ${seconds} s: ${answers}\n`,
    );
    const isRight = [...load.answers.keys()].every((answer) => permitted.test(answer));
    if (!isRight || load.lost > 0) process.exitCode = 1;
    if (load.lost > 0) process.stdout.write(`  ${load.lost} acknowledged writes were lost\n`);
  }
  await proxy.stop();
  await Promise.all(nodes.map((node) => node.stop()));
  await nats.close();
  await rm(folder, { recursive: true, force: true });
}
