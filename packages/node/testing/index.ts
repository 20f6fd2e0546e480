export * from "./faulty-tx-log.ts";
export * from "./log-fold.ts";
export * from "./log-messages.ts";
export * from "./nats-cluster.ts";
export * from "./nats-operator.ts";
export * from "./nats-server.ts";
export * from "./tx-log-suite.ts";
export * from "./tx-log-trimming-suite.ts";
