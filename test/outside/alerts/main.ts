// Raises each alert by a fault, and withdraws it by a cure, in a real Prometheus: node test/dist/outside/alerts/main.js
import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { CAIRN, ROOT } from "@cairn/test-support/cairn-process";
import { parse } from "yaml";
import { debianProgram } from "../debian-program.ts";
import { type Drill, isRaised, otherDrills, pairDrills, setDisk, SteadyWriter } from "./drills.ts";
import { certify, type NightCluster, startNightCluster } from "./night-cluster.ts";
import { FACTOR, Prometheus, shortened } from "./prometheus.ts";

/** Rules without a fault here, because nothing from outside a node causes theirs reliably within minutes. */
const WITHOUT_FAULT = ["CairnLagGrowing", "CairnScrapeIncomplete"];
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
const rows: string[][] = [["alert", "fault", "fires after", "of at most", "cure", "clears after"]];
const text = await readFile(join(ROOT, "docs/grafana/alerts.yml"), "utf8");
const { rules } = (parse(shortened(text)) as { groups: [{ rules: Rule[] }] }).groups[0];
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

async function drill(prometheus: Prometheus, { alerts, fault, begin, cure, end }: Drill): Promise<void> {
  const isFiring = async (expected: Drill["alerts"][number]): Promise<boolean> =>
    (await prometheus.firing()).some((one) => isRaised(expected, one));
  await begin();
  const begun = Date.now();
  const fired = await Promise.all(
    alerts.map(async (expected) => {
      const own = rules.find(({ alert }) => alert === expected.alert)?.for ?? "0s";
      const limitS = Number.parseInt(own, 10) + NOTICED_WITHIN_S;
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
      rows.push([name, fault, `${after ?? "never"} s`, `${limitS} s`, cure, `${cleared ?? "never"} s`]);
    }),
  );
}

/** What happens in a normal night, during which nothing may fire. */
async function quietNight(
  prometheus: Prometheus,
  { pair, nodes, edge, folder }: NightCluster,
): Promise<void> {
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
  await pair[0].send("POST", "/api/v1/checkpoints?await=true");
  await pair[1].send("POST", "/api/v1/checkpoints/newest/verify");
  certify(folder, 91);
  const ends = `cairn_tls_certificate_end_timestamp_seconds{instance="${edge.address}"} - time() > 90.5 * 86400`;
  const rotated = await within(90, Date.now(), async () => (await prometheus.query(ends)).length > 0);
  if (rotated === undefined) problems.push("the gauge of the certificate did not follow its replacement");
  await delay(15_000);
  const fired = await prometheus.firing(seconds(begun));
  for (const { alert, code = "", instance } of fired)
    problems.push(`in the quiet night, ${alert} ${code} fired for ${instance}`);
  process.stdout.write(
    `quiet night, ${seconds(begun)} s: two rolling restarts, a checkpoint, a verification and a new certificate raise ${fired.length} alerts\n`,
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

async function night(prometheus: Prometheus, cluster: NightCluster): Promise<void> {
  const { pair, nodes } = cluster;
  const targets = nodes.map(({ address, scheme }) => ({ address, scheme }));
  await drill(prometheus, {
    alerts: [{ alert: "CairnAllDown" }],
    fault: "Prometheus has no targets",
    begin: () => Promise.resolve(),
    cure: "it has them",
    end: () => prometheus.target(targets),
  });
  await pair[0].ready();
  await pair[0].ask(
    "PUT",
    "/api/v1/policies",
    '{"queues": {"jobs": {"shards": 2, "cap": 100, "terminal": {"state": ["done"]}, "lease": "PT30S"}}}',
  );
  const writer = new SteadyWriter(cluster);
  try {
    await delay(20_000);
    await quietNight(prometheus, cluster);
    const one = async (drills: readonly Drill[]): Promise<void> => {
      for (const each of drills) await drill(prometheus, each);
    };
    await Promise.all([one(pairDrills(cluster)), one(otherDrills(cluster))]);
    // All nodes are dead, which is not the same as no targets.
    await drill(prometheus, {
      alerts: [{ alert: "CairnAllDown" }],
      fault: "SIGKILL of all nodes",
      begin: () => Promise.all(nodes.map((node) => node.kill())),
      cure: "they are started",
      end: () => Promise.all(nodes.map((node) => node.start())),
    });
    await requireDashboard(prometheus);
  } finally {
    await writer.stop();
  }
}

const folder = await mkdtemp(join(tmpdir(), "cairn-alerts-"));
const disk = join(folder, "small");
try {
  const program = await debianProgram("prometheus", ["prometheus"]);
  await mkdir(disk);
  setDisk(disk, 1_024, false);
  requireCommands();
  const cluster = await startNightCluster(folder);
  const prometheus = await Prometheus.start(program, folder, text);
  try {
    await night(prometheus, cluster);
  } finally {
    await prometheus.stop();
    await cluster.close();
  }
  const judged = new Set(rows.map(([name = ""]) => name.split(" ")[0]));
  for (const { alert } of rules) {
    if (!judged.has(alert) && !WITHOUT_FAULT.includes(alert)) problems.push(`${alert} has no fault`);
  }
} catch (error) {
  problems.push((error as Error).stack ?? String(error));
} finally {
  spawnSync("umount", ["-l", disk]);
  await rm(folder, { recursive: true, force: true });
}
process.stdout.write(`The rules' durations are divided by ${FACTOR}, and are at least 10 s.\n`);
for (const row of rows) process.stdout.write(`| ${row.join(" | ")} |\n`);
process.stdout.write(problems.length === 0 ? "alerts: nothing found\n" : `${problems.join("\n")}\n`);
if (problems.length > 0) process.exitCode = 1;
