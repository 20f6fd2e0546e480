export { credentialOptions } from "./nats-credentials.ts";
export { openNatsKv } from "./nats-kv.ts";
export { type NatsTxLogOptions, openNatsTxLog } from "./nats-tx-log.ts";
