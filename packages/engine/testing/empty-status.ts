import type { NodeStatus } from "@cairn/client";
import { z } from "zod";
import { StatusSchema } from "../src/api/status-schema.ts";

/**
 * Returns a status in which nothing is known, for tests that set what they are about: a new field of the status needs no
 * change of them.
 */
export function emptyStatus(): NodeStatus {
  return StatusSchema.parse(emptyOf(StatusSchema));
}

function emptyOf(schema: unknown): unknown {
  if (schema instanceof z.ZodObject) {
    const fields = Object.entries(schema.shape).filter(([, field]) => !(field instanceof z.ZodExactOptional));
    return Object.fromEntries(fields.map(([name, field]) => [name, emptyOf(field)]));
  }
  if (schema instanceof z.ZodArray) return [];
  if (schema instanceof z.ZodEnum) return schema.options[0];
  if (schema instanceof z.ZodString) return "";
  if (schema instanceof z.ZodNumber) return 0;
  if (schema instanceof z.ZodBoolean) return false;
  // All others may be null.
  return null;
}
