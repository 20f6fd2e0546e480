// @module-tag nats
import { NODES } from "./clusters/nodes.ts";
import { followHints } from "./scene/follow-hints.ts";

followHints(NODES, "port-taken");
