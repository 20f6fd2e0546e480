export * from "./empty-status.ts";
export * from "./faulty-tx-log.ts";
export * from "./index-version.ts";
export * from "./log-fold.ts";
export * from "./log-messages.ts";
export * from "./removed-outcomes.ts";
export * from "./tx-log-suite.ts";
export * from "./tx-log-trimming-suite.ts";
