export { createKv } from "./array-kv.ts";
export { openLog } from "./file-log.ts";
export { createStore } from "./lives-store.ts";
export { createVectors } from "./vectors.ts";
