import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { NODE_FINDINGS } from "@cairn/engine";
import { ROOT } from "@cairn/test-support/cairn-process";
import { expect, it } from "vitest";
import { parse } from "yaml";
import { DRILLS, WITHOUT_DRILL } from "./outside/alerts/drills.ts";

const expected = DRILLS.flat(2).flatMap(({ alerts }) => alerts);

it("each alert rule has a drill in test/outside/alerts", async () => {
  const text = await readFile(join(ROOT, "docs/grafana/alerts.yml"), "utf8");
  const { groups } = parse(text) as { groups: { rules: { alert: string }[] }[] };
  const rules = groups.flatMap((group) => group.rules.map(({ alert }) => alert));
  expect([...new Set(expected.map(({ alert }) => alert))].toSorted()).toEqual(rules.toSorted());
});

it("each finding has a drill with the alert of its severity, or a reason why it has none", () => {
  const alerts = { failing: "CairnFailing", attention: "CairnAttention", notice: "CairnNotice" };
  for (const [code, severity] of Object.entries(NODE_FINDINGS)) {
    const drilled = expected.filter((one) => one.code === code).map(({ alert }) => alert);
    if (WITHOUT_DRILL[code] === undefined)
      expect({ code, drilled }).toEqual({ code, drilled: [alerts[severity]] });
    else expect({ code, drilled }).toEqual({ code, drilled: [] });
  }
  expect(Object.keys(NODE_FINDINGS)).toEqual(expect.arrayContaining(Object.keys(WITHOUT_DRILL)));
});
