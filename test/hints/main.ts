// Shows broken clusters: node test/dist/hints/main.js list | table [NAME...] | break NAME
import { once } from "node:events";
import type { BrokenCluster } from "./scene/broken-cluster.ts";
import { BROKEN_CLUSTERS } from "./clusters/all-clusters.ts";
import { followFirstHint } from "./scene/follow-first-hint.ts";
import { HintScene } from "./scene/hint-scene.ts";

const MAX_HINT_CHARACTERS = 160;
const [, , command = "list", ...names] = process.argv;

switch (command) {
  case "list":
    say(BROKEN_CLUSTERS.map(({ name, failure }) => `${name.padEnd(24)}${failure}`).join("\n"));
    break;
  case "table":
    await printTable(names.length === 0 ? BROKEN_CLUSTERS : names.map(clusterNamed));
    break;
  case "break":
    await leaveBroken(clusterNamed(names[0] ?? ""));
    break;
  default:
    fail(`There is no command "${command}". Use list, table [NAME...] or break NAME.`);
}

/** Breaks each cluster and follows its hint, as the tests do, and prints a Markdown table. */
async function printTable(clusters: readonly BrokenCluster[]): Promise<void> {
  say("| failure | codes | first hint | done | seconds |");
  say("|---|---|---|---|---|");
  for (const cluster of clusters) {
    let scene: HintScene | undefined;
    try {
      const { hint, steps, seconds } = await followFirstHint(cluster, (opened) => (scene = opened));
      const cells = [cluster.failure, cluster.codes.join(", "), shorten(hint), describeSteps(steps, scene)];
      say(`| ${cells.map(cell).join(" | ")} | ${seconds.toFixed(1)} |`);
    } catch (error) {
      process.exitCode = 1;
      say(`| ${cluster.failure} | ${cluster.codes.join(", ")} | ${cell(`FAILED: ${String(error)}`)} | | |`);
    } finally {
      await scene?.close();
    }
  }
}

function describeSteps(steps: readonly string[], scene: HintScene | undefined): string {
  if (steps.length === 0) return "nothing";
  return steps.join("; then ").replaceAll(scene?.folder ?? "", "");
}

/** Returns only the hint, because the table has the code and the failure in other columns. */
function shorten(hint: string): string {
  const lines = hint.trim().split("\n");
  const last = (lines.find((line) => line.includes("hint: ")) ?? lines.at(-1) ?? "").replace(/^ *hint: /, "");
  return last.length > MAX_HINT_CHARACTERS ? `${last.slice(0, MAX_HINT_CHARACTERS)}…` : last;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll(/\s+/g, " ");
}

/** Breaks a cluster and leaves it broken until the process is interrupted. */
async function leaveBroken(cluster: BrokenCluster): Promise<void> {
  let scene: HintScene | undefined;
  const interrupted = Promise.race(["SIGINT", "SIGTERM", "SIGHUP"].map((signal) => once(process, signal)));
  try {
    scene = await HintScene.open(cluster.nats);
    await cluster.break(scene);
    say(await environmentOf(scene));
    await interrupted;
  } finally {
    await scene?.close();
  }
}

/** Describes the scene to an operator: its nodes, how they were started, and the last command. */
async function environmentOf(scene: HintScene): Promise<string> {
  const { lastCommand } = scene;
  const lines = [`# The broken cluster is in ${scene.folder}. Ctrl-C stops and removes it.`];
  for (const [id, { settings, env }] of scene.starts) {
    const node = scene.nodes.get(id);
    const url = node === undefined || node.exited ? undefined : await node.url();
    const options = settings === undefined ? "" : ` -j '${JSON.stringify(settings)}'`;
    lines.push(
      `# Node ${id}${url === undefined ? " is not running" : ""}; started with: cairn start${options}`,
    );
    const known = { ...scene.env(id), ...env, ...(url === undefined ? {} : { CAIRN_URL: url }) };
    const exports = Object.entries(known).filter(([name]) => name !== "CAIRN_AUTH_TOKEN");
    lines.push(`export ${exports.map(([name, value = ""]) => `${name}='${value}'`).join(" ")}`);
  }
  if (lastCommand !== "") lines.push(`# Last command: cairn ${lastCommand}`);
  return lines.join("\n");
}

function clusterNamed(name: string): BrokenCluster {
  const found = BROKEN_CLUSTERS.find((cluster) => cluster.name === name);
  return found ?? fail(`There is no broken cluster "${name}". "main.js list" lists them.`);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function fail(sentence: string): never {
  process.stderr.write(`${sentence}\n`);
  process.exit(1);
}
