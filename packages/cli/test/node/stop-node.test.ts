import { describe, expect, test, vi } from "vitest";
import { CairnError } from "@cairn/kv";
import { stopAtSignal } from "../../src/node/start.ts";
import { MemoryNode } from "@cairn/test-support/nodes/memory-node";
import { CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";

class StubbornNode extends MemoryNode {
  override close(): Promise<void> {
    return new Promise(() => undefined);
  }
}

function setUp(options: { limitMs?: number } = {}): {
  terminal: CapturedTerminal;
  time: { now: number };
  forced: string[];
  signals: string[];
  stop: ReturnType<typeof stopAtSignal>;
} {
  const terminal = new CapturedTerminal();
  const time = { now: 0 };
  const forced: string[] = [];
  const signals: string[] = [];
  const stop = stopAtSignal(terminal, {
    onSignal: (signal) => signals.push(signal),
    onForced: (sentence) => forced.push(sentence),
    now: () => time.now,
    ...options,
  });
  return { terminal, time, forced, signals, stop };
}

describe("a signal", () => {
  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
    "%s stops the node, and the command ends with 0",
    async (name) => {
      const { terminal, signals, stop } = setUp();
      const node = new MemoryNode();
      const stopping = stop(node);
      terminal.signal(name);
      expect(await stopping).toBe(0);
      expect([node.closed, signals]).toEqual([true, [name]]);
      expect(terminal.signals.listenerCount(name)).toBe(0);
    },
  );

  test("that arrived before the node had started still stops it", async () => {
    const { terminal, stop } = setUp();
    terminal.signal("SIGTERM");
    const node = new MemoryNode();
    expect(await stop(node)).toBe(0);
    expect(node.closed).toBe(true);
  });

  test("that is repeated immediately counts once, and a later one forces the process to exit", async () => {
    const { terminal, time, forced, signals, stop } = setUp();
    const stopping = stop(new StubbornNode());
    terminal.signal("SIGINT");
    time.now = 900;
    terminal.signal("SIGTERM");
    expect(forced).toEqual([]);
    time.now = 1100;
    terminal.signal("SIGINT");
    expect(await stopping).toBe(1);
    expect(forced).toEqual(["A second SIGINT arrived before the node had stopped."]);
    expect(signals).toEqual(["SIGINT"]);
  });

  test("to a node that cannot stop as it should ends the command with 1, whatever the reason is", async () => {
    const { terminal, forced, stop } = setUp();
    const node = new MemoryNode();
    node.close = async () => {
      throw new CairnError("CONFIG_INVALID", "The folder /data cannot be used.");
    };
    const stopping = stop(node);
    terminal.signal("SIGTERM");
    // A unit of systemd is not restarted after 2, the code of this error.
    expect(await stopping).toBe(1);
    expect(forced).toEqual(["The node did not stop as it should: The folder /data cannot be used."]);
  });

  test("to a node that may drain for 25 days waits for it to stop", async () => {
    const { terminal, forced, stop } = setUp({ limitMs: 25 * 86_400_000 });
    const node = new MemoryNode();
    const { close } = node;
    node.close = async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      await close.call(node);
    };
    const stopping = stop(node);
    terminal.signal("SIGTERM");
    expect([await stopping, forced]).toEqual([0, []]);
  });

  test("to a node that does not stop in time exits with 1 and reports what is still open", async () => {
    const { terminal, forced, stop } = setUp({ limitMs: 20 });
    const stopping = stop(new StubbornNode());
    terminal.signal("SIGTERM");
    expect(await stopping).toBe(1);
    expect(forced).toEqual([
      expect.stringMatching(/^The node did not stop within 0\.02 s: these resources are still open: /),
    ]);
  });

  test("to a node that is saving a checkpoint reports the step", async () => {
    const { terminal, forced, stop } = setUp({ limitMs: 20 });
    const node = new StubbornNode();
    const status = await node.status();
    const running = { startedAt: "2026-11-20T06:00:00.000Z", step: "uploading", bytes: 5 };
    vi.spyOn(node, "status").mockResolvedValue({
      ...status,
      checkpoints: { ...status.checkpoints, running },
    });
    const stopping = stop(node);
    terminal.signal("SIGTERM");
    expect(await stopping).toBe(1);
    expect(forced[0]).toContain("a checkpoint is being saved (uploading)");
  });
});
