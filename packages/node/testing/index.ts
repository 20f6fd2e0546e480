export * from "./faulty-tx-log.ts";
export * from "./nats-server.ts";
export * from "./tx-log-suite.ts";
