// @module-tag nats
import { afterAll, beforeAll } from "vitest";
import { openNatsTxLog } from "../src/nats-tx-log.ts";
import { type NatsTestServer, startNatsServer } from "../testing/nats-server.ts";
import { describeTxLog, type TxLogHarness, describeRemoval, describeTrimming } from "@cairn/engine/testing";

let server: NatsTestServer;
let streams = 0;

beforeAll(async () => {
  server = await startNatsServer();
});
afterAll(() => server.close());

async function start(): Promise<TxLogHarness> {
  streams += 1;
  const stream = `conformance-${streams}`;
  return {
    open: () => openNatsTxLog({ servers: server.url, stream }),
    close: async () => undefined,
  };
}

describeTxLog("the NATS log", start);
describeTrimming("the NATS log", start);
describeRemoval("the NATS log", start);
