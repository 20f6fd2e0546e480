// @module-tag nats
import { CONFIGURATIONS } from "./clusters/configurations.ts";
import { followHints } from "./scene/follow-hints.ts";

followHints(CONFIGURATIONS, "config-syntax");
