// @module-tag nats
import { NATS } from "./clusters/nats.ts";
import { followHints } from "./scene/follow-hints.ts";

followHints(NATS, "nats-rights");
