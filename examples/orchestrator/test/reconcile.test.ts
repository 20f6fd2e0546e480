import { describe, expect, it } from "vitest";
import { ClusterState } from "../src/cluster-state.ts";
import { reconcile } from "../src/reconcile.ts";
import type { Deployment, Machine, Pod } from "../src/resources.ts";

const KEY = "default/web";

interface Scene {
  readonly deployment?: Deployment;
  readonly nodes?: Readonly<Record<string, Machine>>;
  /** The pods by number. Each has the revision 100 + number. */
  readonly pods?: Readonly<Record<number, Partial<Pod>>>;
}

function state({ deployment, nodes = { a: { pods: 5 }, b: { pods: 5 } }, pods = {} }: Scene): ClusterState {
  const scene = new ClusterState();
  if (deployment !== undefined) scene.deployments.set(KEY, { revision: 7, document: deployment });
  for (const [name, document] of Object.entries(nodes)) {
    scene.nodes.set(`default/${name}`, { revision: 2, document });
  }
  for (const [number, part] of Object.entries(pods)) {
    const document: Pod = { deployment: KEY, image: "nginx", node: "a", phase: "Running", ...part };
    scene.pods.set(`${KEY}-${number}`, { revision: 100 + Number(number), document });
  }
  return scene;
}

/** Returns the pods that are deleted (-) and put (+), by number. Pods that are put have their node. */
function decided(scene: Scene): string[] {
  return reconcile(state(scene), KEY).flatMap((op) => {
    if (op[0] === "put") return [`+${op[2].slice(KEY.length + 1)} ${(op[3] as Pod).node}`];
    return op[0] === "delete" ? [`-${op[2].slice(KEY.length + 1)}`] : [];
  });
}

describe("reconcile", () => {
  it("decides nothing if the pods match, or if none are desired and none exist", () => {
    expect(decided({ deployment: { image: "nginx", replicas: 2 }, pods: { 0: {}, 3: {} } })).toEqual([]);
    expect(decided({})).toEqual([]);
  });

  it("uses the nodes with the most free capacity, and the lowest free numbers", () => {
    const deployment = { image: "nginx", replicas: 4 };
    expect(decided({ deployment, pods: { 1: {}, 2: {} } })).toEqual(["+0 b", "+3 b"]);
  });

  it("schedules no more pods than the nodes can run", () => {
    const deployment = { image: "nginx", replicas: 9 };
    expect(decided({ deployment, nodes: { a: { pods: 1 }, b: { pods: 1 } } })).toEqual(["+0 a", "+1 b"]);
    expect(decided({ deployment, nodes: {} })).toEqual([]);
  });

  it("removes the highest numbers first if there are too many pods, and all if the deployment no longer exists", () => {
    const pods = { 2: {}, 10: {}, 9: {} };
    expect(decided({ deployment: { image: "nginx", replicas: 1 }, pods })).toEqual(["-9", "-10"]);
    expect(decided({ pods })).toEqual(["-2", "-9", "-10"]);
  });

  it("replaces pods with another image and pods on a missing node, with unused numbers", () => {
    const deployment = { image: "nginx", replicas: 3 };
    const pods = { 0: {}, 1: { image: "old" }, 2: { node: "gone" } };
    expect(decided({ deployment, pods })).toEqual(["-1", "-2", "+3 b", "+4 b"]);
  });

  it("requires every revision on which it is based, and records an event for each pod", () => {
    const scene = state({ deployment: { image: "new", replicas: 1 }, pods: { 0: {} } });
    const ops = reconcile(scene, KEY);
    expect(ops.filter(([op]) => op === "match")).toEqual([
      ["match", "deployments", KEY, 7],
      ["match", "pods", `${KEY}-0`, 100],
      ["match", "pods", `${KEY}-1`, null],
    ]);
    expect(ops.filter(([op]) => op === "event")).toMatchObject([
      ["event", { object: `pod/${KEY}-0`, reason: "Replaced" }],
      ["event", { object: `pod/${KEY}-1`, reason: "Scheduled" }],
    ]);
  });
});
