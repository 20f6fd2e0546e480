export * from "./nats-server.ts";
export * from "./tx-log-suite.ts";
