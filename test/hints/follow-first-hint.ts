import { HintScene } from "./hint-scene.ts";
import type { BrokenCluster } from "./broken-clusters.ts";

/** How a broken cluster was mended. */
export interface Followed {
  readonly hint: string;
  readonly commands: number;
  /** From the breaking until all was well. */
  readonly seconds: number;
}

/** Breaks a cluster, reads the first hint as an operator would, does what it says, and waits until all is well. */
export async function followFirstHint(
  { break: breakIt, hint, follow, nats }: BrokenCluster,
  opened: (scene: HintScene) => void,
): Promise<{ readonly scene: HintScene; readonly followed: Followed }> {
  const scene = await HintScene.open(nats);
  opened(scene);
  const where = await breakIt(scene);
  scene.begin();
  const text = "said" in where ? where.said : await scene.firstHint(where.node);
  const match = hint.exec(text);
  if (match === null) throw new Error(`The hint is another one:\n${text}`);
  await follow(scene, match);
  await scene.well();
  const { commands, seconds } = scene;
  return { scene, followed: { hint: text, commands, seconds } };
}
