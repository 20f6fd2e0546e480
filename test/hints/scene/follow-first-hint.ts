import type { BrokenCluster, Symptom } from "./broken-cluster.ts";
import { HintScene } from "./hint-scene.ts";

/** The result of repairing a broken cluster. */
export interface Repair {
  readonly hint: string;
  /** The operator's steps, one command each. */
  readonly steps: readonly string[];
  /** The time from the first examination of the symptom until the cluster was healthy. */
  readonly seconds: number;
}

/** The maximum number of commands that a repair may take. */
const MAX_COMMANDS = 2;
/** A command with --yes; not words like "if it is refused, add --yes". */
const AGREES = /\bcairn(?: [\w./:=-]+)* --yes\b/;

/** Breaks a cluster, reads the first hint as an operator would, follows it, and waits until the cluster is healthy. */
export async function followFirstHint(
  broken: BrokenCluster,
  opened: (scene: HintScene) => void,
): Promise<Repair> {
  const scene = await HintScene.open(broken.nats);
  opened(scene);
  const symptom = await broken.break(scene);
  scene.beginRepair();
  const hint = await readHint(scene, symptom);
  const match = broken.hint.exec(hint);
  if (match === null) throw new Error(`The hint does not match ${String(broken.hint)}:\n${hint}`);
  const agreeing = AGREES.exec(hint)?.[0];
  if (agreeing !== undefined)
    throw new Error(`"${agreeing}" agrees to a loss before a refusal has said what is lost.`);
  await broken.follow(scene, match);
  await scene.waitUntilHealthy(broken.remains);
  const { steps, seconds } = scene;
  // The transcript lacks the responses to requests that `break` made by itself.
  const read = hint + scene.transcript;
  if (steps.length > MAX_COMMANDS) throw new Error(`The repair took too many commands:\n${steps.join("\n")}`);
  const unread = broken.codes.filter((code) => !read.includes(code));
  if (unread.length > 0) throw new Error(`Not shown: ${unread.join(", ")}. The operator read:\n${read}`);
  return { hint, steps, seconds };
}

async function readHint(scene: HintScene, symptom: Symptom): Promise<string> {
  if ("output" in symptom) return symptom.output;
  if ("log" in symptom) return await scene.firstLogged(symptom.log, symptom.code);
  return await scene.firstHint(symptom.status);
}
