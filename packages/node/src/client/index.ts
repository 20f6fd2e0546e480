export { CairnClient } from "./cairn-client.ts";
export { CairnClientError } from "./client-error.ts";
/** What the client's methods take and answer. */
export type * from "./client-types.ts";
/** What `status` answers. */
export type { NodeStatus } from "../node-api.ts";
/** What `recordEvent` takes. */
export type { EventRecord } from "../tx-log/event-record.ts";
/** What transactions are made of. */
export type {
  DocumentKey,
  Json,
  Revision,
  Transaction,
  TxId,
  TxOperation,
  TxOutcome,
} from "../tx-log/transaction.ts";
