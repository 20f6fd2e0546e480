// @module-tag nats
import { REQUESTS } from "./clusters/requests.ts";
import { followHints } from "./scene/follow-hints.ts";

followHints(REQUESTS, "export-truncated");
