import { CONFIGURATIONS } from "./clusters/configurations.ts";
import { followHints } from "./scene/follow-hints.ts";

followHints(CONFIGURATIONS);
