import type { z } from "zod";

/** A small JSON file of a store by its schema; undefined when it is not JSON, or not of the schema: not one of ours. */
export function parseStoredRecord<T extends z.ZodType>(schema: T, text: string): z.infer<T> | undefined {
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
