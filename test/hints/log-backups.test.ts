// @module-tag nats
import { LOG_BACKUPS } from "./clusters/log-backups.ts";
import { followHints } from "./scene/follow-hints.ts";

followHints(LOG_BACKUPS, "log-read-only");
