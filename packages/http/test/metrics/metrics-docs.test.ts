import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { ERROR_CODES } from "@cairn/kv";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { CLUSTER_FINDINGS } from "@cairn/engine/src/findings/findings";
import { NODE_FINDINGS } from "@cairn/engine";
import { processMetrics, registerMetrics } from "../../src/metrics/node-metrics.ts";
import { parseSamples } from "@cairn/test-support/nodes/samples";

/** A metric, as the code or the documentation describes it. */
interface Described {
  readonly name: string;
  readonly type: string;
  readonly labels: readonly string[];
}

const RegistryShape = z.array(
  z.object({ name: z.string(), type: z.unknown().optional(), labelNames: z.array(z.string()) }),
);

const metrics = registerMetrics({ nodeId: "a" }, () => undefined);

/** Returns the metrics in the registries. */
async function registered(): Promise<Described[]> {
  const found: Described[] = [];
  for (const registry of [metrics.registry, processMetrics()]) {
    const types = new Map((await registry.getMetricsAsJSON()).map(({ name, type }) => [name, String(type)]));
    // The labels of metrics without a sample are available only from the metrics themselves.
    for (const { name, labelNames } of RegistryShape.parse(registry.getMetricsAsArray())) {
      found.push({ name, type: types.get(name) ?? "none", labels: labelNames.toSorted() });
    }
  }
  return found;
}

function read(name: string): Promise<string> {
  return readFile(fileURLToPath(new URL(`../../../../docs/${name}`, import.meta.url)), "utf8");
}

/** Returns the rows of the tables of metrics. */
function documented(text: string): Described[] {
  const rows = text.matchAll(/^\| `((?:cairn|process|nodejs)_\w+)` \| (\w+) \|([^|]*)\|/gm);
  return Array.from(rows, ([, name = "", type = "", labels = ""]) => ({
    name,
    type,
    labels: Array.from(labels.matchAll(/`(\w+)`/g), ([, label = ""]) => label).toSorted(),
  }));
}

const byName = (a: Described, b: Described): number => (a.name < b.name ? -1 : 1);

/** Labels that Prometheus adds to every sample. */
const OF_PROMETHEUS = ["job", "instance"];

/**
 * Returns the errors in the metrics of an expression. There are none if all metrics exist, with these labels and
 * values.
 */
async function problemsOf(expression: string): Promise<string[]> {
  const all = new Map((await registered()).map((one) => [one.name, one]));
  const initial = parseSamples(await metrics.registry.metrics());
  const problems: string[] = [];
  const used = new Set<string>();
  const selectors = expression.matchAll(/\b((?:cairn|process|nodejs)_\w+)(?:\{([^}]*)\})?/g);
  for (const [, written = "", selector = ""] of selectors) {
    const histogram = written.replace(/_(?:bucket|sum|count)$/, "");
    const metric = all.get(written) ?? all.get(histogram);
    if (metric === undefined || (metric.name !== written && metric.type !== "histogram")) {
      problems.push(`${written} is no metric`);
      continue;
    }
    if (metric.type === "histogram" && metric.name === written) problems.push(`${written} needs a suffix`);
    for (const label of metric.labels) used.add(label);
    for (const [, label = "", value = ""] of selector.matchAll(/(\w+)(?:=~|!=|!~|=)"([^"]*)"/g)) {
      if (OF_PROMETHEUS.includes(label)) continue;
      if (!metric.labels.includes(label)) problems.push(`${written} has no label ${label}`);
      // A histogram has no samples at first, so the values that other metrics give the label are used.
      const own = initial.filter(({ name }) => name === metric.name);
      const given = (own.length > 0 ? own : initial).map(({ labels }) => labels[label]);
      // Findings have no samples before the first status.
      const ofFindings = label === "code" ? Object.keys(NODE_FINDINGS) : Object.values(NODE_FINDINGS);
      const known: unknown[] = metric.name === "cairn_finding" ? ofFindings : given;
      for (const one of value.split("|")) {
        const isErrorCode = label === "code" && written !== "cairn_finding";
        const isThere = isErrorCode ? ERROR_CODES.some((code) => code === one) : known.includes(one);
        if (!isThere) problems.push(`${label} of ${written} is never ${one}`);
      }
    }
  }
  for (const [, grouped = ""] of expression.matchAll(/\bby \(([^)]*)\)/g)) {
    for (const label of grouped.split(", ")) {
      if (![...OF_PROMETHEUS, "le", ...used].includes(label)) problems.push(`nothing to group by ${label}`);
    }
  }
  return problems;
}

const TargetShape = z.object({ refId: z.string(), expr: z.string(), legendFormat: z.string() });
const PanelShape = z.object({
  id: z.int(),
  type: z.enum(["row", "stat", "timeseries"]),
  title: z.string().min(1),
  gridPos: z.object({ h: z.int(), w: z.int(), x: z.int(), y: z.int() }),
  targets: z.array(TargetShape).optional(),
});
const VariableShape = z.object({ name: z.string(), type: z.string(), definition: z.string().optional() });
const DashboardShape = z.object({
  uid: z.string(),
  title: z.string(),
  schemaVersion: z.int(),
  templating: z.object({ list: z.array(VariableShape) }),
  panels: z.array(PanelShape),
});

async function dashboard(): Promise<z.infer<typeof DashboardShape>> {
  return DashboardShape.parse(JSON.parse(await read("grafana/dashboard.json")));
}

describe("docs/metrics.md", () => {
  it("lists every metric with its type and its labels, and no others", async () => {
    const listed = documented(await read("metrics.md"));
    expect(listed.toSorted(byName)).toEqual((await registered()).toSorted(byName));
  });

  it("lists every finding with its severity, and no others", async () => {
    const page = await read("metrics.md");
    const listed = page.matchAll(/^\| `([a-z-]+)` \| (failing|attention|notice) \|/gm);
    expect(
      Object.fromEntries(Array.from(listed, ([, code = "", severity = ""]) => [code, severity])),
    ).toEqual({
      ...NODE_FINDINGS,
      ...CLUSTER_FINDINGS,
    });
  });

  it("lists the alert rules, and no others", async () => {
    const listed = Array.from(
      (await read("metrics.md")).matchAll(/^\| `(Cairn\w+)` \|/gm),
      ([, name]) => name,
    );
    const rules = (await read("grafana/alerts.yml")).matchAll(/^ {6}- alert: (\w+)$/gm);
    expect(listed).toEqual(Array.from(rules, ([, name]) => name));
  });

  it("follows Prometheus' conventions in the names of this product's metrics", async () => {
    for (const { name, type } of await registered()) {
      if (!name.startsWith("cairn_")) continue;
      expect(name).not.toMatch(/_(?:millis|percent)(?:_|$)/);
      if (type === "histogram") expect(name).toMatch(/_seconds$/);
    }
  });

  // For promtool's other checks, run promtool itself: pnpm test:outside promtool.
  it("names every metric as promtool requires", async () => {
    for (const { name, type } of await registered()) {
      expect([name, name.endsWith("_total")]).toEqual([name, type === "counter"]);
      if (type !== "histogram") expect(name).not.toMatch(/_(?:bucket|sum|count)$/);
      expect(name).toMatch(/^[a-z][a-z0-9_]*$/);
      expect(name).not.toMatch(/_(?:counter|gauge|histogram|summary)(?:_|$)/);
      expect(name).not.toMatch(
        /_(?:ms|us|ns|sec|s|m|h|d|b|kb|mb|gb|tb|milliseconds|minutes|hours|days|kilobytes|megabytes)(?:_|$)/,
      );
    }
    const texts = await Promise.all(
      [metrics.registry, processMetrics()].map((registry) => registry.metrics()),
    );
    expect(texts.join("\n")).not.toMatch(/^# HELP \S+\s*$/m);
  });
});

describe("docs/grafana/alerts.yml", () => {
  it("uses only existing metrics, labels and values", async () => {
    const expressions = Array.from(
      (await read("grafana/alerts.yml")).matchAll(/^ {8}expr: (.+)$/gm),
      ([, expression = ""]) => expression,
    );
    expect(expressions.length).toBeGreaterThan(8);
    for (const expression of expressions)
      expect([expression, await problemsOf(expression)]).toEqual([expression, []]);
  });

  it("says for each alert what it is, and which command to run first, which docs/metrics.md names as well", async () => {
    const [, ...rules] = (await read("grafana/alerts.yml")).split("- alert: ");
    const page = await read("metrics.md");
    expect(rules.length).toBeGreaterThan(8);
    for (const rule of rules) {
      const name = /^\w+/.exec(rule)?.[0] ?? "";
      expect(rule).toMatch(/^ {8}labels: \{ severity: (?:critical|warning|info) \}$/m);
      expect(rule).toMatch(/^ {10}summary: ".+"$/m);
      // The judge alerts runs each of these commands.
      const command = /^ {10}description: ".+: (cairn [a-z -]+)"$/m.exec(rule)?.[1] ?? "no command";
      const row = page.split("\n").find((line) => line.startsWith(`| \`${name}\` |`));
      expect([name, row]).toEqual([name, expect.stringContaining(`\`${command}\``)]);
    }
  });

  it("has a rule for findings of every severity", async () => {
    const severities = (await read("grafana/alerts.yml")).matchAll(/cairn_finding\{severity="(\w+)"\} == 1/g);
    expect(Array.from(severities, ([, severity]) => severity).toSorted()).toEqual(
      [...new Set(Object.values(NODE_FINDINGS))].toSorted(),
    );
  });
});

describe("docs/grafana/dashboard.json", () => {
  it("uses only existing metrics, labels and values", async () => {
    const { panels, templating } = await dashboard();
    const asked = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
    const queries = templating.list.flatMap(({ definition }) => definition ?? []);
    expect(asked.length).toBeGreaterThan(30);
    for (const expression of [...asked, ...queries]) {
      expect([expression, await problemsOf(expression)]).toEqual([expression, []]);
    }
  });

  it("has panels with unique ids, side by side within the grid, that all have a query", async () => {
    const { panels } = await dashboard();
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const taken = new Set<string>();
    for (const { title, type, gridPos, targets = [] } of panels) {
      expect([title, targets.length > 0]).toEqual([title, type !== "row"]);
      expect(new Set(targets.map(({ refId }) => refId)).size).toBe(targets.length);
      expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
          expect(taken).not.toContain(`${x} ${y}`);
          taken.add(`${x} ${y}`);
        }
      }
    }
  });

  it("uses only variables that it defines", async () => {
    const { panels, templating } = await dashboard();
    const known = [...templating.list.map(({ name }) => name), "__rate_interval"];
    const used = JSON.stringify(panels).matchAll(/\$\{?(\w+)/g);
    for (const [, name = ""] of used) expect(known).toContain(name);
  });
});

describe("the check of expressions", () => {
  it("finds misspelt names", async () => {
    expect(await problemsOf("cairn_nod_ready == 0")).toEqual(["cairn_nod_ready is no metric"]);
    expect(await problemsOf('cairn_node_ready{phase="x"}')).toContain("cairn_node_ready has no label phase");
    expect(await problemsOf('cairn_node_phase{phase="fail"}')).toHaveLength(1);
    expect(await problemsOf('cairn_work_running{work="trimm"}')).toEqual([
      "work of cairn_work_running is never trimm",
    ]);
    expect(await problemsOf('cairn_node_failure{code="LOG_DIFFERNT"}')).toHaveLength(1);
    expect(await problemsOf("sum by (rout) (cairn_http_requests_total)")).toEqual([
      "nothing to group by rout",
    ]);
    expect(await problemsOf("cairn_apply_duration_seconds > 1")).toHaveLength(1);
    expect(await problemsOf("cairn_node_ready_bucket")).toEqual(["cairn_node_ready_bucket is no metric"]);
  });
});
