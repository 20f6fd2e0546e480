export { CairnClient } from "./cairn-client.ts";
export { CairnClientError } from "./client-error.ts";
export type * from "./client-types.ts";
export type { NodeStatus } from "../node-api.ts";
export type { EventRecord } from "../tx-log/event-record.ts";
export type {
  DocumentKey,
  Json,
  Revision,
  Transaction,
  TxId,
  TxOperation,
  TxOutcome,
} from "../tx-log/transaction.ts";
