import type { BrokenCluster, Symptom } from "./broken-cluster.ts";
import { HintScene } from "./hint-scene.ts";

/** How a broken cluster was mended. */
export interface Followed {
  readonly hint: string;
  /** What was done for it, one command each. */
  readonly done: readonly string[];
  /** From the first look until all was well. */
  readonly seconds: number;
}

/** From the symptom to the cure, however much more could be done. */
const MOST_COMMANDS = 2;

/** Breaks a cluster, reads the first hint as an operator would, does what it says, and waits until all is well. */
export async function followFirstHint(
  broken: BrokenCluster,
  opened: (scene: HintScene) => void,
): Promise<Followed> {
  const scene = await HintScene.open(broken.nats);
  opened(scene);
  const symptom = await broken.break(scene);
  scene.begin();
  const hint = await readHint(scene, symptom);
  const match = broken.hint.exec(hint);
  if (match === null) throw new Error(`The hint is another one:\n${hint}`);
  await broken.follow(scene, match);
  await scene.well(broken.remains);
  const { done, seconds } = scene;
  // A program's own request is read where it was made.
  const read = hint + scene.read;
  if (done.length > MOST_COMMANDS) throw new Error(`It took too many commands:\n${done.join("\n")}`);
  const unread = broken.codes.filter((code) => !read.includes(code));
  if (unread.length > 0) throw new Error(`Not shown: ${unread.join(", ")}. What was read:\n${read}`);
  return { hint, done, seconds };
}

async function readHint(scene: HintScene, symptom: Symptom): Promise<string> {
  if ("said" in symptom) return symptom.said;
  if ("log" in symptom) return await scene.logged(symptom.log, symptom.code);
  return await scene.firstHint(symptom.status);
}
