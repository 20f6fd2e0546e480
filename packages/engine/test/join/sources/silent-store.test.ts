// @module-tag nats
import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { s3Store } from "@cairn/checkpoint-s3";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { expect, it, onTestFinished, vi } from "vitest";

it(
  "a store that accepts connections and never answers counts as away, and the node begins without it",
  { tags: "rest/slow" },
  async () => {
    const scene = await ClusterScene.open();
    onTestFinished(() => scene.close());
    const other = await scene.ready("other");
    const last = await put(other, 0, 5, "v");
    await scene.stop(other);

    const sockets = new Set<Socket>();
    const server = createServer((socket) => void sockets.add(socket.on("error", () => undefined)));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    const { port } = server.address() as AddressInfo;
    const store = s3Store({
      bucket: "b",
      endpoint: `http://127.0.0.1:${port}`,
      region: "us-east-1",
      credentials: { accessKeyId: "a", secretAccessKey: "s" },
    });
    const node = await scene.start("a", { store, parts: { waitForStoreMs: 1_000 } });
    await vi.waitFor(
      async () =>
        expect((await node.status()).failure).toMatchObject({
          code: "STORE_UNREACHABLE",
          message: expect.stringContaining("has not answered within 1 s") as string,
          hint: expect.stringContaining("the node stops waiting") as string,
        }),
      { timeout: 10_000, interval: 20 },
    );
    await node.ready;
    expect((await node.status()).join).toMatchObject({ restoredFrom: null, replayed: last });
  },
);
