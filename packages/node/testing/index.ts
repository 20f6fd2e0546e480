export * from "./tx-log-suite.ts";
