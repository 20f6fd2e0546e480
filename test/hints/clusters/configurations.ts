import { writeFile } from "node:fs/promises";
import type { BrokenCluster } from "../scene/broken-cluster.ts";
import type { HintScene } from "../scene/hint-scene.ts";

/** Writes a configuration that `cairn config check` rejects. */
async function rejectedConfig(scene: HintScene, text: string): Promise<{ readonly output: string }> {
  await writeFile(scene.path("node.json"), text);
  return { output: await scene.runRefused("config check -f node.json") };
}

/** Corrects the file and checks it again. */
async function correct(scene: HintScene, text: string): Promise<void> {
  await scene.step("correct node.json", () => writeFile(scene.path("node.json"), text));
  await scene.runStep("config check -f node.json");
}

/** Clusters with a wrong configuration. */
export const CONFIGURATIONS: readonly BrokenCluster[] = [
  {
    name: "config-parameter",
    failure: "a parameter of the configuration is mistyped",
    codes: ["CONFIG_INVALID"],
    break: async (scene) => await rejectedConfig(scene, '{"cairn/node": {"idd": "x"}}'),
    hint: /Did you mean (id)\?/,
    follow: async (scene, [, name]) => await correct(scene, `{"cairn/node": {"${name}": "x"}}`),
  },
  {
    name: "config-syntax",
    failure: "the configuration lacks a brace",
    codes: ["CONFIG_SYNTAX"],
    break: async (scene) => await rejectedConfig(scene, '{"cairn/node": {"id": "x"}'),
    hint: /^node\.json:1:27.*\n +CONFIG_SYNTAX: This is not valid JSON/m,
    follow: async (scene) => await correct(scene, '{"cairn/node": {"id": "x"}}'),
  },
  {
    name: "config-missing",
    failure: "the name of the configuration file is mistyped",
    codes: ["CONFIG_NOT_FOUND"],
    async break(scene) {
      await writeFile(scene.path("node.json"), '{"cairn/node": {"id": "x"}}');
      return { output: await scene.runRefused("config check -f nod.json") };
    },
    hint: /Did you mean (node\.json)\?/,
    follow: async (scene, [, name]) => await scene.runStep(`config check -f ${name}`),
  },
  {
    name: "config-module",
    failure: "a module of the configuration is mistyped",
    codes: ["CONFIG_MODULE"],
    break: async (scene) =>
      await rejectedConfig(
        scene,
        '{"cairn/tx-log": {"cairn/module": "cairn.nats/->txlog", "servers": ["nats://h:4222"]}}',
      ),
    hint: /Did you mean (\S+)\?/,
    follow: async (scene, [, name]) =>
      await correct(scene, `{"cairn/tx-log": {"cairn/module": "${name}", "servers": ["nats://h:4222"]}}`),
  },
];
