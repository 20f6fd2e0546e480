import crypto from "node:crypto";
import { ALL_RIGHTS } from "@cairn/client/protocol";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import type { TokenOptions } from "@cairn/engine";
import { ReloadedFiles } from "../../src/permits/reloaded-files.ts";
import { Tokens } from "../../src/permits/tokens.ts";
import { serve } from "@cairn/test-support/nodes/served-node";
import { quickLooks } from "./quick-looks.ts";

/** Returns the arguments of all comparisons in constant time that are made until the test ends. */
function watchComparisons(): Parameters<typeof crypto.timingSafeEqual>[] {
  const watched = vi.spyOn(crypto, "timingSafeEqual");
  // Named imports of the function only change with this call.
  syncBuiltinESMExports();
  onTestFinished(() => {
    watched.mockRestore();
    syncBuiltinESMExports();
  });
  return watched.mock.calls;
}

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "cairn-tokens-"));
  onTestFinished(() => rm(path, { recursive: true }));
  return path;
}

const logger = { error: () => {}, warn: () => {}, debug: () => {} };

function all(name: string, source: TokenOptions["source"]): TokenOptions {
  return { name, source, rights: ALL_RIGHTS };
}

it("a token is compared with every token by its SHA-256, and in constant time, whatever it is", async () => {
  const comparisons = watchComparisons();
  const files = new ReloadedFiles({ logger });
  const tokens = await Tokens.open(
    ["first", "second", "third"].map((name) => all(name, { text: `${name}-value` })),
    files,
  );
  const given = ["first-value", "third-value", "wrong", "f", "first-valu", "x".repeat(1_000)];
  for (const token of given) {
    comparisons.length = 0;
    expect(tokens.permitOf(token)?.name).toBe(/^(\w+)-value$/.exec(token)?.[1]);
    for (const [left, right] of comparisons) expect(left.byteLength).toBe(right.byteLength);
    expect(comparisons.filter(([left]) => left.byteLength === 32)).toHaveLength(3);
  }
  // Only the token that was valid last is compared as it is, which takes the same time for any other of its length.
  tokens.permitOf("first-value");
  for (const token of ["first-value", "first-valuf", "girst-value"]) {
    comparisons.length = 0;
    expect(tokens.permitOf(token)?.name).toBe(token === "first-value" ? "first" : undefined);
    expect(comparisons[0]?.map(String)).toEqual(
      [token, "first-value"].map((text) => String(Buffer.from(text))),
    );
  }
  await files.close();
});

it("a file of tokens that is replaced takes effect without a restart, and ends the watches of the old token", async () => {
  const looks = quickLooks();
  const file = join(await folder(), "app");
  await writeFile(file, "old\n");
  await using served = await serve({ tokens: [all("app", { file })] });
  served.node.watched = async function* ({ signal }) {
    yield [{ type: "heartbeat", txId: 0, txTime: null, position: "0" }];
    await new Promise((resolve) => signal?.addEventListener("abort", resolve));
  };
  const status = async (token: string): Promise<number> =>
    (await served.fetch("/status", { headers: { authorization: `Bearer ${token}` } })).status;
  const watch = await served.fetch("/api/v1/watch", { headers: { authorization: "Bearer old" } });
  expect([watch.status, await status("old"), await status("new")]).toEqual([200, 200, 401]);

  // While the file contains both, both are valid.
  await writeFile(`${file}.next`, "old\nnew\n");
  await rename(`${file}.next`, file);
  await vi.waitFor(async () => expect(await status("new")).toBe(200), 10_000);
  expect(await status("old")).toBe(200);

  await looks.between(() => writeFile(file, "new\n"));
  await vi.waitFor(async () => expect(await status("old")).toBe(401), 10_000);
  expect(await status("new")).toBe(200);
  // The text ends, because the stream does.
  expect(await watch.text()).toContain("heartbeat");
  expect(served.warned).toEqual([]);
});

it("a file of tokens that becomes unusable is refused with a warning, and the tokens remain valid", async () => {
  const looks = quickLooks();
  const file = join(await folder(), "app");
  await writeFile(file, "old\n");
  await using served = await serve({ tokens: [all("app", { file })] });
  await looks.between(() => writeFile(file, "two words\n"));
  await vi.waitFor(() => expect(served.warned).toHaveLength(1), 10_000);
  expect(served.warned[0]).toMatchObject({
    fields: {
      code: "CONFIG_INVALID",
      message: expect.stringContaining(file) as string,
      hint: expect.stringContaining("It is read again when it changes") as string,
    },
    message: expect.stringContaining("remain valid") as string,
  });
  expect((await served.fetch("/status", { headers: { authorization: "Bearer old" } })).status).toBe(200);
  await looks.between(() => writeFile(file, "x".repeat(2_000_000)));
  await vi.waitFor(() => expect(served.warned).toHaveLength(2), 10_000);
  expect(served.warned[1]?.fields).toMatchObject({
    message: expect.stringContaining("larger than 1 MiB") as string,
  });
  await looks.between(() => writeFile(file, "mended\n"));
  await vi.waitFor(async () => {
    const answer = await served.fetch("/status", { headers: { authorization: "Bearer mended" } });
    expect(answer.status).toBe(200);
  }, 10_000);
});

it.each([
  ["is removed", async (file: string) => await rm(file)],
  ["becomes empty", async (file: string) => await writeFile(file, "")],
  ["contains the value of another token", async (file: string) => await writeFile(file, "of-third\n")],
])("a token ceases to be valid although the file of another one %s", async (_what, spoil) => {
  const looks = quickLooks();
  const path = await folder();
  const file = (name: string): string => join(path, name);
  const names = ["first", "second", "third"];
  for (const name of names) await writeFile(file(name), `of-${name}\n`);
  await using served = await serve({ tokens: names.map((name) => all(name, { file: file(name) })) });
  const status = async (token: string): Promise<number> =>
    (await served.fetch("/status", { headers: { authorization: `Bearer ${token}` } })).status;
  await looks.between(() => spoil(file("first")));
  await vi.waitFor(() => expect(served.warned).toHaveLength(1), 10_000);

  await looks.between(() => writeFile(file("second"), "new\n"));
  await vi.waitFor(async () => expect(await status("of-second")).toBe(401), 10_000);
  expect(await Promise.all(["new", "of-first", "of-third"].map(status))).toEqual([200, 200, 200]);

  await looks.between(() => writeFile(file("first"), "mended\n"));
  await vi.waitFor(async () => expect(await status("mended")).toBe(200), 10_000);
  expect(await status("of-first")).toBe(401);
});

it("a token that is in its file twice is one token, whose permit remains valid when another is added", async () => {
  const looks = quickLooks();
  const file = join(await folder(), "app");
  await writeFile(file, "one\none\n");
  const files = new ReloadedFiles({ logger });
  const tokens = await Tokens.open([all("app", { file })], files);
  const permit = tokens.permitOf("one");
  await looks.between(() => writeFile(file, "one\none\ntwo\n"));
  await vi.waitFor(() => expect(tokens.permitOf("two")?.name).toBe("app"), 10_000);
  expect(permit?.isRevoked).toBe(false);
  await files.close();
});

it("two tokens that exchange their values keep the old ones", async () => {
  const looks = quickLooks();
  const path = await folder();
  const [reader, writer] = [join(path, "reader"), join(path, "writer")];
  await writeFile(reader, "one\n");
  await writeFile(writer, "two\n");
  await using served = await serve({
    tokens: [all("reader", { file: reader }), all("writer", { file: writer })],
  });
  await looks.between(async () => {
    await writeFile(reader, "two\n");
    await writeFile(writer, "one\n");
  });
  await vi.waitFor(() => expect(served.warned).toHaveLength(2), 10_000);
  for (const { fields } of served.warned)
    expect(fields).toMatchObject({ message: expect.stringContaining("have the same value") as string });
  await looks.between(() => writeFile(reader, "new\n"));
  await vi.waitFor(async () => {
    const answer = await served.fetch("/status", { headers: { authorization: "Bearer new" } });
    expect(answer.status).toBe(200);
  }, 10_000);
});

it.each([
  ["a missing file", { file: "/no/such/file" }, /cannot be read/],
  ["the value of another token", { text: "taken" }, /other and app have the same value/],
] as const)("a token with %s keeps the server from starting", async (_what, source, message) => {
  const tokens = [all("other", { text: "taken" }), all("app", source)];
  await expect(serve({ tokens })).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringMatching(message) as string,
  });
});

it("an empty file of tokens keeps the server from starting", async () => {
  const file = join(await folder(), "empty");
  await writeFile(file, "\n");
  await expect(serve({ tokens: [all("app", { file })] })).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    hint: expect.stringContaining("openssl rand -hex 32") as string,
  });
});
