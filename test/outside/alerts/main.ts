// Raises each alert by a fault, and withdraws it by a cure, in a real Prometheus: node test/dist/outside/alerts/main.js
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { get } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { CAIRN, createCheckpoint, ROOT } from "@cairn/test-support/cairn-process";
import { parse } from "yaml";
import { debianProgram } from "../debian-program.ts";
import { type Drill, DRILLS, type Expected } from "./drills.ts";
import { certify, steadyWrites } from "./faults.ts";
import { disksIn, type NightCluster, startNightCluster } from "./night-cluster.ts";
import { FACTOR, Prometheus, shortened } from "./prometheus.ts";

/** How long a fault may take to be a finding, in addition to the rule's own time: rounds, looks and scrapes (s). */
const NOTICED_WITHIN_S = 45;
/** How long an alert may take to be withdrawn. A range of two hours is the longest of the rules (s). */
const CLEARED_WITHIN_S = 7_200 / FACTOR + NOTICED_WITHIN_S;

interface Rule {
  readonly alert: string;
  readonly for?: string;
  readonly annotations: { readonly description: string };
}

const problems: string[] = [];
const text = await readFile(join(ROOT, "docs/grafana/alerts.yml"), "utf8");
const { rules } = (parse(shortened(text)) as { groups: [{ rules: Rule[] }] }).groups[0];
const row = (...cells: readonly string[]): boolean => process.stdout.write(`| ${cells.join(" | ")} |\n`);
const seconds = (since: number): number => Math.round((Date.now() - since) / 1_000);

/** Waits until a condition holds, and returns the seconds since the start; undefined if it takes longer. */
async function within(
  limitS: number,
  since: number,
  holds: () => Promise<boolean>,
): Promise<number | undefined> {
  while (!(await holds())) {
    if (seconds(since) > limitS) return undefined;
    await delay(250);
  }
  return seconds(since);
}

async function drill(prometheus: Prometheus, night: NightCluster, one: Drill): Promise<void> {
  const { alerts, fault, cure } = one;
  const isFiring = async ({ alert, code, on }: Expected): Promise<boolean> =>
    (await prometheus.firing()).some(
      (firing) =>
        alert === firing.alert &&
        (code === undefined || code === firing.code) &&
        (on === undefined || night[on].address === firing.instance),
    );
  for (const expected of alerts) {
    const over = await within(CLEARED_WITHIN_S, Date.now(), async () => !(await isFiring(expected)));
    if (over === undefined) problems.push(`${expected.alert} fired before this: ${fault}`);
  }
  const end = await one.begin(night);
  const begun = Date.now();
  const fired = await Promise.all(
    alerts.map(async (expected) => {
      const own = rules.find(({ alert }) => alert === expected.alert)?.for ?? "0s";
      const limitS = Number.parseInt(own, 10) + (expected.noticedWithinS ?? NOTICED_WITHIN_S);
      return { limitS, after: await within(limitS, begun, () => isFiring(expected)) };
    }),
  );
  await end();
  const ended = Date.now();
  await Promise.all(
    alerts.map(async (expected, at) => {
      const cleared = await within(CLEARED_WITHIN_S, ended, async () => !(await isFiring(expected)));
      const name = [expected.alert, expected.code].filter((part) => part !== undefined).join(" ");
      const { limitS = 0, after } = fired[at] ?? {};
      if (after === undefined) problems.push(`${name} did not fire within ${limitS} s: ${fault}`);
      if (cleared === undefined) problems.push(`${name} did not clear: ${cure}`);
      row(name, fault, `${after ?? "never"} s`, `${limitS} s`, cure, `${cleared ?? "never"} s`);
    }),
  );
}

/** Replaces the token of Prometheus as docs/configuration.md says: for some time, both are valid. */
async function rotateToken(prometheus: Prometheus, { edge, folder }: NightCluster): Promise<void> {
  const begun = Date.now();
  const tokens = join(folder, "tokens");
  const answers = async (token: string, status: number): Promise<boolean> =>
    (await statusWith(edge.url, token)) === status;
  await writeFile(tokens, "first\nsecond\n");
  const added = await within(90, begun, async () => await answers("second", 200));
  await writeFile(join(folder, "credentials"), "second");
  await delay(3_000);
  await writeFile(tokens, "second\n");
  const removed = await within(90, Date.now(), async () => await answers("first", 401));
  await delay(3_000);
  const missed = `min_over_time(up{instance="${edge.address}"}[${seconds(begun)}s]) < 1`;
  if (added === undefined || removed === undefined) problems.push("the node did not read its tokens again");
  if ((await prometheus.query(missed)).length > 0)
    problems.push("a scrape failed when the token was replaced");
}

/** Requests the status with a token, and returns the response's status. */
async function statusWith(url: string, token: string): Promise<number | undefined> {
  const headers = { authorization: `Bearer ${token}` };
  const [response] = (await once(
    get(`${url}/status`, { headers, rejectUnauthorized: false }),
    "response",
  )) as [IncomingMessage];
  response.resume();
  return response.statusCode;
}

/** What happens in a normal night, during which nothing may fire. */
async function quietNight(prometheus: Prometheus, night: NightCluster): Promise<void> {
  const { a, b, nodes, edge, folder } = night;
  const begun = Date.now();
  const isUp = async (address: string): Promise<boolean> =>
    (await prometheus.query(`cairn_node_ready{instance="${address}"} == 1`)).length > 0;
  for (let round = 0; round < 2; round += 1) {
    for (const node of nodes) {
      await node.stop();
      await node.start();
      await within(60, Date.now(), async () => await isUp(node.address));
    }
  }
  await createCheckpoint(a.url);
  await b.cairn("checkpoint", "verify");
  await rotateToken(prometheus, night);
  certify(folder, 91);
  const ends = `cairn_tls_certificate_end_timestamp_seconds{instance="${edge.address}"} - time() > 90.5 * 86400`;
  const rotated = await within(90, Date.now(), async () => (await prometheus.query(ends)).length > 0);
  if (rotated === undefined) problems.push("the gauge of the certificate did not follow its replacement");
  await delay(15_000);
  const fired = await prometheus.firing(seconds(begun));
  const sampled = await prometheus.query(`max_over_time(cairn_finding[${seconds(begun)}s]) == 1`);
  for (const { metric } of sampled)
    problems.push(`in the quiet night, a sample of ${metric["instance"]} has ${metric["code"]}`);
  for (const { alert, code = "", instance } of fired)
    problems.push(`in the quiet night, ${alert} ${code} fired for ${instance}`);
  process.stdout.write(
    `quiet night, ${seconds(begun)} s: two rolling restarts, a checkpoint, a verification, a new token and a new certificate raise ${fired.length} alerts\n`,
  );
}

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
}

/** Every query of the dashboard must have returned a series within the last quarter of an hour. */
async function requireDashboard(prometheus: Prometheus): Promise<void> {
  const board = await readFile(join(ROOT, "docs/grafana/dashboard.json"), "utf8");
  const { panels } = JSON.parse(board) as { panels: readonly Panel[] };
  let count = 0;
  if ((await prometheus.query("last_over_time((cairn_no_metric)[15m:1s])")).length > 0)
    problems.push("a metric that does not exist has data");
  for (const { title, targets = [] } of panels) {
    for (const { expr } of targets) {
      const asked = expr.replaceAll(/\$(?:job|instance)\b/g, ".+").replaceAll("$__rate_interval", "10s");
      count += 1;
      const found = await prometheus.query(`last_over_time((${asked})[15m:1s])`);
      if (found.length === 0) problems.push(`the dashboard's ${title} has no data: ${expr}`);
    }
  }
  process.stdout.write(`dashboard: ${count} queries\n`);
}

/** The command of each alert must exist. */
function requireCommands(): void {
  for (const { alert, annotations } of rules) {
    const words = /: cairn ([a-z -]+)$/.exec(annotations.description)?.[1]?.split(" ") ?? [];
    const { status } = spawnSync(process.execPath, [CAIRN, ...words, "--help"], { stdio: "ignore" });
    if (words.length === 0 || status !== 0) problems.push(`${alert} names no command that exists`);
  }
}

async function runNight(prometheus: Prometheus, cluster: NightCluster): Promise<void> {
  const { a, b, lagging, nodes } = cluster;
  process.stdout.write(`The rules' durations are divided by ${FACTOR}, and are at least 10 s.\n`);
  row("alert", "fault", "fires after", "of at most", "cure", "clears after");
  await drill(prometheus, cluster, {
    alerts: [{ alert: "CairnAllDown" }],
    fault: "Prometheus has no targets",
    begin: async () => async () => await prometheus.target(nodes, lagging),
    cure: "it has them",
  });
  await a.ready();
  await a.ask(
    "PUT",
    "/api/v1/policies",
    '{"queues": {"jobs": {"shards": 2, "cap": 100, "terminal": {"state": ["done"]}, "lease": "PT30S"}}}',
  );
  const writes = steadyWrites([a, b]);
  try {
    await delay(20_000);
    await quietNight(prometheus, cluster);
    for (const lists of DRILLS) {
      const run = async (drills: readonly Drill[]): Promise<void> => {
        for (const one of drills) await drill(prometheus, cluster, one);
      };
      await Promise.all(lists.map(run));
    }
    await requireDashboard(prometheus);
  } finally {
    await writes.stop();
  }
}

const folder = await mkdtemp(join(tmpdir(), "cairn-alerts-"));
try {
  const program = await debianProgram("prometheus", ["prometheus"]);
  requireCommands();
  const cluster = await startNightCluster(folder);
  const prometheus = await Prometheus.start(program, folder, text);
  try {
    await runNight(prometheus, cluster);
  } finally {
    await prometheus.stop();
    await cluster.close();
  }
} catch (error) {
  problems.push((error as Error).stack ?? String(error));
} finally {
  for (const disk of Object.values(disksIn(folder))) spawnSync("umount", ["-l", disk]);
  await rm(folder, { recursive: true, force: true });
}
process.stdout.write(problems.length === 0 ? "alerts: nothing found\n" : `${problems.join("\n")}\n`);
if (problems.length > 0) process.exitCode = 1;
