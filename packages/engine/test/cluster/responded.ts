import { expect, vi } from "vitest";
import type { CommandResult } from "@cairn/test-support/nodes/captured-terminal";
import type { ClusterScene } from "@cairn/test-support/nodes/cluster-scene";

/**
 * Runs `cairn status --cluster …` until exactly `nodes` nodes have responded. The command always waits for its whole
 * timeout, which is therefore so short that a response on a busy machine may come too late.
 */
export async function statusOf(
  scene: ClusterScene,
  nodes: number,
  ...args: readonly string[]
): Promise<CommandResult> {
  return await vi.waitFor(
    async () => {
      const result = await scene.status("--timeout", "PT0.5S", ...args);
      expect(responded(result)).toBe(nodes);
      return result;
    },
    { interval: 1 },
  );
}

/** Returns the number of nodes that responded; undefined if the command shows none. */
function responded({ stdout }: CommandResult): number | undefined {
  if (stdout.startsWith("{")) return (JSON.parse(stdout) as { nodes: readonly unknown[] }).nodes.length;
  const [, count] = /; (\d+) nodes? responded/.exec(stdout) ?? [];
  return count === undefined ? undefined : Number(count);
}
