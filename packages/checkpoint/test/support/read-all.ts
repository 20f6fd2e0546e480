import type { ByteSource } from "../../src/encryption/age-payload.ts";

/** Reads a source in steps that divide its chunks, to its end or its error. */
export async function readAll(source: ByteSource): Promise<{ content: Buffer; error?: unknown }> {
  const parts: Buffer[] = [];
  const step = Buffer.alloc(4096);
  try {
    for (;;) {
      const got = await source.fill(step);
      parts.push(Buffer.from(step.subarray(0, got)));
      if (got < step.length) return { content: Buffer.concat(parts) };
    }
  } catch (error) {
    return { content: Buffer.concat(parts), error };
  }
}
