import { isCairnError } from "@cairn/kv";
import type { z } from "zod";
import type { CheckpointStore } from "./checkpoint-store.ts";

/** No record of ours is nearly as long: a longer text is not worth the memory that reading it takes. */
export const LONGEST_RECORD = 65_536;

/** A record by its name; undefined when there is none, or something else in its place. Errors: the store's own (`STORE_*`). */
export async function readStoredRecord<T extends z.ZodType>(
  store: CheckpointStore,
  name: string,
  schema: T,
): Promise<z.infer<T> | undefined> {
  try {
    const file = await store.read(name);
    return file === undefined ? undefined : parseStoredRecord(schema, file.text);
  } catch (error) {
    if (isCairnError(error, "CHECKPOINT_CORRUPT")) return undefined;
    throw error;
  }
}

/** A small JSON file of a store by its schema; undefined when it is not JSON, or not of the schema: not one of ours. */
export function parseStoredRecord<T extends z.ZodType>(schema: T, text: string): z.infer<T> | undefined {
  if (text.length > LONGEST_RECORD) return undefined;
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
