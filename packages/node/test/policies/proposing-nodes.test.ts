// @module-tag nats
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ClusterScene } from "@cairn/test-support/nodes/cluster-scene";

let scene: ClusterScene;
let warned: { readonly node: string; readonly msg: string }[] = [];
beforeEach(async () => {
  warned = [];
  scene = await ClusterScene.open();
});
afterEach(() => scene.close());

/** Starts a node that proposes an index of `field`. */
const proposing = async (id: string, field: string) => {
  const write = (line: string): void => {
    const { msg } = JSON.parse(line) as { readonly msg: string };
    if (msg.includes("policies")) warned.push({ node: id, msg });
  };
  const logger = pino({ level: "warn" }, { write });
  return await scene.ready(id, { logger, parts: { policies: { indexes: { pods: [field] } } } });
};

describe("nodes that propose policies at the same time", () => {
  it("are ready with the policies of one of them, and those with other ones report that they differ", async () => {
    const nodes = await Promise.all([
      proposing("a", "state"),
      proposing("b", "node"),
      proposing("c", "state"),
    ]);
    const found = await Promise.all(nodes.map((node) => node.policies()));
    const [first] = found;
    expect(first?.revision).not.toBeNull();
    for (const { revision, policies } of found) {
      expect({ revision, policies }).toEqual({ revision: first?.revision, policies: first?.policies });
    }
    expect(new Set(found.map(({ file }) => file))).toEqual(new Set(["same", "different"]));
    const differing = nodes.flatMap(({ id }, at) => (found[at]?.file === "different" ? [id] : []));
    expect(warned.map(({ node }) => node).toSorted()).toEqual(differing);
    for (const { msg } of warned) expect(msg).toMatch(/differs from the policies of the log/);
  });
});
