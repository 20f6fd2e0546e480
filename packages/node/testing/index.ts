export * from "./faulty-tx-log.ts";
export * from "./log-messages.ts";
export * from "./nats-server.ts";
export * from "./tx-log-suite.ts";
