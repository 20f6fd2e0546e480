export type { S3Credentials, S3StoreOptions } from "./s3-options.ts";
export { s3Store } from "./s3-store.ts";
