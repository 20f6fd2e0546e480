export { CairnClient } from "./cairn-client.ts";
export { CairnClientError } from "./client-error.ts";
/** What the client's methods take and answer. */
export type * from "./client-types.ts";
/** What `code` of an error can be. */
export type * from "./error-code.ts";
/** What `recordEvent` takes. */
export type * from "./event-record.ts";
/** What `status` answers. */
export type * from "./node-status.ts";
/** Policies as they are written. */
export type * from "./policies.ts";
/** What transactions are made of. */
export type * from "./transaction.ts";
