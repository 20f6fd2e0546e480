export * from "./nats-cluster.ts";
export * from "./nats-operator.ts";
export * from "./nats-server.ts";
