// @module-tag rest/slow
import { kvStoreSuite } from "../../testing/kv-store-suite.ts";
import { rangedCopies } from "../support/ranged-copies.ts";

kvStoreSuite("LevelDB read by ranges", { provider: rangedCopies });
