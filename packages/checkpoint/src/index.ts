export { ManifestSchema } from "./checkpoint.ts";
export type { IndexState, Manifest } from "./checkpoint.ts";
export type { CheckpointSource } from "./checkpoint-source.ts";
export type { CheckpointStore, StoredFile, TaggedText } from "./checkpoint-store.ts";
export type { CheckpointerOptions, RetentionPolicy } from "./checkpointer-options.ts";
