import { unlessFailed } from "@cairn/kv";
import type { z } from "zod";
import type { CheckpointStore } from "./checkpoint-store.ts";

/** The length above which a file is not parsed, in UTF-16 code units. Cairn's records are much shorter. */
export const MAX_RECORD_LENGTH = 65_536;

/** Undefined if it does not exist or Cairn did not write it. Throws the store's errors (`STORE_*`). */
export async function readStoredRecord<T extends z.ZodType>(
  store: CheckpointStore,
  name: string,
  schema: T,
): Promise<z.infer<T> | undefined> {
  const file = await unlessFailed(store.read(name), "CHECKPOINT_CORRUPT", undefined);
  return file === undefined ? undefined : parseStoredRecord(schema, file.text);
}

/** Undefined if `text` is too long, is not JSON or does not match the schema: then Cairn did not write it. */
export function parseStoredRecord<T extends z.ZodType>(schema: T, text: string): z.infer<T> | undefined {
  if (text.length > MAX_RECORD_LENGTH) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  const parsed = schema.safeParse(value);
  return parsed.success ? parsed.data : undefined;
}
