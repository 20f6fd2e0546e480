// @module-tag nats
import { STORES } from "./clusters/stores.ts";
import { followHints } from "./scene/follow-hints.ts";

followHints(STORES, "checkpoint-damaged");
