export { configSchema } from "./config-schema.ts";
export type { ConfigInput } from "./config-sources.ts";
export { createSystem } from "./create-system.ts";
export { tellOlderData } from "./older-data.ts";
export { configAsJson, printConfig } from "./print-config.ts";
export { type ConfigResult, readConfig, requireConfig } from "./read-config.ts";
export { readHttpServer } from "./read-config.ts";
export { ConfigError, type ConfigProblem, formatProblems } from "./source/problems.ts";
export type { ModuleContext } from "./types/module-kinds.ts";
