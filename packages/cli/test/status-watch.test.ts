import { describe, expect, it } from "vitest";
import { MemoryNode } from "@cairn/test-support/nodes/memory-node";
import { serve } from "@cairn/test-support/nodes/served-node";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";

describe("cairn status --watch", () => {
  it("draws the status again until Ctrl-C, and then ends with 0", { tags: "rest/slow" }, async () => {
    const node = new MemoryNode();
    await using served = await serve({ node });
    const terminal = new CapturedTerminal({ env: { CAIRN_URL: served.url, NO_COLOR: "1" }, isTTY: true });
    const ended = cairn(["status", "--watch"], terminal);
    const drawn = (): number => terminal.stdout.text.split("\u001b[HNode").length - 1;
    await expect.poll(drawn, { timeout: 20_000 }).toBeGreaterThanOrEqual(2);
    terminal.signal("SIGINT");
    const { code, stdout, stderr } = await ended;
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^Phase +ready/m);
  });

  it("goes on if the node does not respond", { tags: "rest/slow" }, async () => {
    const served = await serve();
    const terminal = new CapturedTerminal({ env: { CAIRN_URL: served.url }, isTTY: true });
    const ended = cairn(["status", "--watch"], terminal);
    await expect.poll(() => terminal.stdout.text, { timeout: 20_000 }).toContain("Node");
    await served.server.close();
    await expect.poll(() => terminal.stdout.text, { timeout: 20_000 }).toContain("No node responds");
    terminal.signal("SIGINT");
    expect((await ended).code).toBe(0);
  });

  it("is refused in a pipe, and together with options of other outputs", async () => {
    const pipe = await cairn(["status", "--watch"]);
    expect([pipe.code, pipe.stderr]).toEqual([2, expect.stringContaining("--watch requires a terminal.")]);
    const terminal = new CapturedTerminal({ isTTY: true });
    const both = await cairn(["status", "--watch", "--cluster", "--digest"], terminal);
    expect([both.code, both.stderr]).toEqual([
      2,
      expect.stringContaining("'--watch' cannot be used with option '--digest'"),
    ]);
  });

  it("shows the only node of an embedded log in place of its cluster", { tags: "rest/slow" }, async () => {
    await using served = await serve();
    const terminal = new CapturedTerminal({ env: { CAIRN_URL: served.url }, isTTY: true });
    const ended = cairn(["status", "--watch", "--timeout", "PT1S"], terminal);
    await expect.poll(() => terminal.stdout.text, { timeout: 20_000 }).toContain("Node");
    terminal.signal("SIGINT");
    expect((await ended).stderr).toContain("An embedded log has a single node");
  });
});
