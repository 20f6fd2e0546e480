import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { NatsOperator } from "@cairn/node/testing";

/** What a log and a folder of checkpoints held at an instant. */
export interface Fingerprint {
  /** Of each message. */
  readonly messages: readonly string[];
  /** Of each file that is a part of a checkpoint, by its name. */
  readonly files: ReadonlyMap<string, string>;
  /** Who saved what is there. */
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
    // Nodes that run may sweep meanwhile.
    const bytes = await readFile(path.join(folder, name)).catch(() => undefined);
    if (bytes === undefined) continue;
    files.set(name, sha256(bytes));
    if (/Z-[0-9a-f]{8}\.json$/.test(name))
      savers.add((JSON.parse(bytes.toString()) as { node: string }).node);
  }
  return { messages, files, savers };
}

/** What `node`, which may not read the log, has changed; other nodes may have saved and swept meanwhile, but nobody wrote to the log. */
export function harmDone(before: Fingerprint, after: Fingerprint, node: string): string[] {
  const problems: string[] = [];
  if (before.messages.join() !== after.messages.join()) problems.push("the log is not what it was before");
  for (const [name, digest] of before.files) {
    const now = after.files.get(name);
    if (now !== undefined && now !== digest) problems.push(`${name} is not what it was before`);
  }
  if (!before.savers.has(node) && after.savers.has(node)) problems.push("it saved a checkpoint");
  return problems;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
