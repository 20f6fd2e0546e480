// Has Prometheus' own promtool look at metrics, alert rules and configuration: node test/dist/outside/promtool/main.js
import { spawnSync } from "node:child_process";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { savingCairn } from "./saving-cairn.ts";
import { debianProgram } from "../debian-program.ts";

const DOCS = fileURLToPath(new URL("../../../../docs/", import.meta.url));

const folder = await mkdtemp(join(tmpdir(), "cairn-promtool-"));
try {
  const promtool = await debianProgram("promtool", ["prometheus"]);
  /** What it says; undefined where it finds nothing. */
  const said = (args: readonly string[], input = ""): string | undefined => {
    const { status, stdout, stderr } = spawnSync(promtool.path, args, {
      cwd: folder,
      env: promtool.env,
      input,
      encoding: "utf8",
    });
    // Even of what it only advises against it says so.
    return status === 0 && stderr === "" ? undefined : `${args.join(" ")}: ${stdout}${stderr}`;
  };
  const page = await readFile(join(DOCS, "metrics.md"), "utf8");
  const config = /^```yaml\n(scrape_configs:[^]*?)^```$/m.exec(page)?.[1] ?? "";
  await copyFile(join(DOCS, "grafana/alerts.yml"), join(folder, "alerts.yml"));
  await writeFile(join(folder, "prometheus.yml"), config);
  await writeFile(join(folder, "wrong.yml"), "groups: [{ name: a, rules: [{ alert: A, expr: 'up ==' }] }]\n");
  const metrics = await savingCairn(folder);
  const problems = [
    ...metrics.map((text) => said(["check", "metrics"], text)),
    said(["check", "rules", "alerts.yml"]),
    said(["check", "config", "prometheus.yml"]),
    // It would find something.
    said(["check", "metrics"], "# HELP a_total b\n# TYPE a_total gauge\na_total 1\n") === undefined
      ? "a gauge named as a counter is not found"
      : undefined,
    said(["check", "rules", "wrong.yml"]) === undefined ? "a rule that is none is not found" : undefined,
  ].filter((problem) => problem !== undefined);
  const samples = metrics.map((text) => text.split("\n").filter((line) => /^\w/.test(line)).length);
  process.stdout.write(`promtool: ${samples.join(" and ")} samples, rules and configuration: `);
  process.stdout.write(problems.length === 0 ? "nothing found\n" : `\n${problems.join("\n")}\n`);
  if (problems.length > 0) process.exitCode = 1;
} catch (error) {
  process.stdout.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}
