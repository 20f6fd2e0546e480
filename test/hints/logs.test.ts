// @module-tag nats
import { LOGS } from "./clusters/logs.ts";
import { followHints } from "./scene/follow-hints.ts";

followHints(LOGS, "log-trimmed");
