// Checks metrics, alert rules and configuration with Prometheus' promtool: node test/dist/outside/promtool/main.js
import { spawnSync } from "node:child_process";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "@cairn/test-support/cairn-process";
import { debianProgram } from "../debian-program.ts";
import { metricsOfNode } from "./node-metrics.ts";

const DOCS = join(ROOT, "docs");

const folder = await mkdtemp(join(tmpdir(), "cairn-promtool-"));
try {
  const promtool = await debianProgram("promtool", ["prometheus"]);
  /** Returns the report of promtool; undefined if it finds nothing. */
  const check = (args: readonly string[], input = ""): string | undefined => {
    const { status, stdout, stderr } = spawnSync(promtool.path, args, {
      cwd: folder,
      env: promtool.env,
      input,
      encoding: "utf8",
    });
    // Advice is written to stderr.
    return status === 0 && stderr === "" ? undefined : `${args.join(" ")}: ${stdout}${stderr}`;
  };
  const page = await readFile(join(DOCS, "metrics.md"), "utf8");
  const config = /^```yaml\n(scrape_configs:[^]*?)^```$/m.exec(page)?.[1] ?? "";
  await copyFile(join(DOCS, "grafana/alerts.yml"), join(folder, "alerts.yml"));
  await writeFile(join(folder, "prometheus.yml"), config);
  await writeFile(join(folder, "wrong.yml"), "groups: [{ name: a, rules: [{ alert: A, expr: 'up ==' }] }]\n");
  const metrics = await metricsOfNode(folder);
  const problems = [
    ...metrics.map((text) => check(["check", "metrics"], text)),
    check(["check", "rules", "alerts.yml"]),
    check(["check", "config", "prometheus.yml"]),
    // The last two contain errors that promtool must find.
    check(["check", "metrics"], "# HELP a_total b\n# TYPE a_total gauge\na_total 1\n") === undefined
      ? "promtool does not find a gauge named as a counter"
      : undefined,
    check(["check", "rules", "wrong.yml"]) === undefined
      ? "promtool does not find an invalid rule"
      : undefined,
  ].filter((problem) => problem !== undefined);
  const samples = metrics.map((text) => text.split("\n").filter((line) => /^\w/.test(line)).length);
  process.stdout.write(`promtool: ${samples.join(" and ")} samples, rules, and configuration: `);
  process.stdout.write(problems.length === 0 ? "nothing found\n" : `\n${problems.join("\n")}\n`);
  if (problems.length > 0) process.exitCode = 1;
} catch (error) {
  process.stdout.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}
