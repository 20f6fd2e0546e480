import path from "node:path";
import { expect, it } from "vitest";
import { openEmbeddedTxLog } from "../../src/index.ts";
import { observedScene } from "@cairn/test-support/nodes/observed-node";

it("of a transaction that the log acknowledged with a wrong position, it is not said that it was not applied", async () => {
  const scene = await observedScene();
  const node = await scene.start("a", {
    openTxLog: async () => {
      const log = await openEmbeddedTxLog({ path: path.join(scene.folder, "log") });
      return new Proxy(log, {
        get(of, name) {
          if (name === "append")
            return async (...given: Parameters<typeof log.append>) => {
              const appended = await of.append(...given);
              return { ...appended, position: appended.position + 1 };
            };
          const value: unknown = Reflect.get(of, name);
          return typeof value === "function" ? (value.bind(of) as unknown) : value;
        },
      });
    },
  });
  await node.ready;
  const first = await node.submit({ ops: [["put", "things", "default/one", 1]] });
  await node.submit({ ops: [["put", "things", "default/two", 2]] });
  await expect(node.await(first)).rejects.toMatchObject({
    code: "LOG_REGRESSED",
    message: expect.stringContaining("or stored it elsewhere"),
    hint: expect.stringMatching(/^It is unknown whether the transaction was applied\. Read what it writes\./),
  });
  expect(await node.get({ bucket: "things", namespace: "default", name: "one" })).toMatchObject({
    json: "1",
  });
});
