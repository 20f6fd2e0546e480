export * from "./errors.ts";
export type * from "./kv-store.ts";
