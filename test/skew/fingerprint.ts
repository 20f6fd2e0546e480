import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { NatsOperator } from "@cairn/node/testing";

/** The contents of a log and a folder of checkpoints at an instant. */
export interface Fingerprint {
  /** The position, time and digest of each message. */
  readonly messages: readonly string[];
  /** The digest of each file of a checkpoint, by name. */
  readonly files: ReadonlyMap<string, string>;
  /** The ids of the nodes that saved the checkpoints. */
  readonly savers: ReadonlySet<string>;
}

export async function fingerprintOf(server: string, stream: string, folder: string): Promise<Fingerprint> {
  const messages: string[] = [];
  await NatsOperator.at(
    server,
    async (operator) => {
      for await (const { position, time, payload } of operator.messages())
        messages.push(`${position} ${time} ${sha256(payload)}`);
    },
    stream,
  );
  const files = new Map<string, string>();
  const savers = new Set<string>();
  for (const name of await readdir(folder)) {
    if (!name.startsWith("checkpoint-")) continue;
    // A running node may sweep in the meantime.
    const bytes = await readFile(path.join(folder, name)).catch(() => undefined);
    if (bytes === undefined) continue;
    files.set(name, sha256(bytes));
    if (/Z-[0-9a-f]{8}\.json$/.test(name))
      savers.add((JSON.parse(bytes.toString()) as { node: string }).node);
  }
  return { messages, files, savers };
}

/**
 * Returns the changes made by `node`, which cannot read the log. Other nodes may save and sweep in the meantime, but
 * must not write to the log.
 */
export function harmDone(before: Fingerprint, after: Fingerprint, node: string): string[] {
  const problems: string[] = [];
  if (before.messages.join() !== after.messages.join()) problems.push("the log has changed");
  for (const [name, digest] of before.files) {
    const now = after.files.get(name);
    if (now !== undefined && now !== digest) problems.push(`${name} has changed`);
  }
  if (!before.savers.has(node) && after.savers.has(node)) problems.push("it saved a checkpoint");
  return problems;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
