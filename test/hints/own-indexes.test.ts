// @module-tag nats
import { OWN_INDEXES } from "./clusters/own-indexes.ts";
import { followHints } from "./scene/follow-hints.ts";

followHints(OWN_INDEXES, "index-document");
