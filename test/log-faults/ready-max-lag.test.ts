// @module-tag nats
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import type { System, TxLog } from "@cairn/engine";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { wrapped } from "@cairn/text";

let scene: ClusterScene;
beforeEach(async () => {
  scene = await ClusterScene.open();
});
afterEach(() => scene.close());

const PATIENT = { timeout: 20_000, interval: 50 };
const http = { host: "127.0.0.1", port: 0, maxBody: 1_000_000 };

async function health(url: string | undefined): Promise<{ readonly status: number; readonly text: string }> {
  const response = await fetch(`${url}/health/ready`);
  return { status: response.status, text: await response.text() };
}

describe("a ready node that lags behind its log for longer than ready-max-lag", () => {
  it(
    "is not ready for load balancers while the log does not respond, and serves all the same",
    { tags: "rest/slow" },
    async () => {
      const limited = await scene.ready("a", { parts: { http: { ...http, readyMaxLagMs: 1_000 } } });
      const unlimited = await scene.ready("b", { parts: { http } });
      await put(limited, 0, 3, "v");
      expect((await health(limited.url)).status).toBe(200);
      await scene.nats.kill();
      // It is ready for as long as the limit allows.
      expect((await health(limited.url)).status).toBe(200);
      await vi.waitFor(async () => expect((await health(limited.url)).status).toBe(503), PATIENT);
      expect((await health(limited.url)).text).toMatch(
        /lags: its index last contained everything in the log .* ago/,
      );
      expect((await health(unlimited.url)).status).toBe(200);
      const read = await fetch(`${limited.url}/api/v1/things/k0`);
      expect([read.status, await read.json()]).toEqual([200, "v"]);
      await scene.nats.start();
      await vi.waitFor(async () => expect((await health(limited.url)).status).toBe(200), PATIENT);
    },
  );

  it("is not ready while messages do not arrive, although the log responds, and is ready again once they have", async () => {
    const { node, faults } = await scene.withheld("a", { readyMaxLagMs: 500 });
    const writer = await scene.ready("b");
    await put(writer, 0, 3, "v");
    await vi.waitFor(async () => expect((await node.status()).index.documents).toBe(3), PATIENT);
    expect((await health(node.url)).status).toBe(200);
    faults.stalled = true;
    await put(writer, 3, 6, "v");
    await vi.waitFor(async () => expect((await health(node.url)).status).toBe(503), PATIENT);
    faults.stalled = false;
    await vi.waitFor(async () => expect((await health(node.url)).status).toBe(200), PATIENT);
  });

  it(
    "stays ready while others write all the time, however often it is asked",
    { tags: "rest/slow" },
    async () => {
      // Whenever it is asked, the log has one message more than the index, as if another node had just written it.
      let ahead = 0;
      const openTxLog: System["openTxLog"] = async ({ signal }) => {
        const log = await openNatsTxLog({ servers: [scene.nats.url], signal });
        return wrapped<TxLog>(log, {
          bounds: async () => {
            const { last, ...bounds } = await log.bounds();
            return { ...bounds, last: last + ahead };
          },
        });
      };
      const node = await scene.ready("a", { parts: { openTxLog, http: { ...http, readyMaxLagMs: 1_000 } } });
      ahead = 1;
      const writer = await scene.ready("b");
      const end = performance.now() + 2_500;
      const writing = (async () => {
        for (let n = 0; performance.now() < end; n += 20) await put(writer, n, n + 20, "v");
      })();
      while (performance.now() < end) expect((await health(node.url)).status).toBe(200);
      await writing;
    },
  );
});
