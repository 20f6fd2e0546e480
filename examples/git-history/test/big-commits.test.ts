import { describe, expect, it } from "vitest";
import { MAX_MESSAGE_BYTES } from "../src/diff-tree-parser.ts";
import { HistoryError, MAX_TRANSACTION_BYTES, historyLines, makeRepository } from "../src/index.ts";
import { Folded, filesByGit, readLines, sorted } from "./support/folded.ts";
import { commitFiles, gitText, smallRepository, temporaryDirectory } from "./support/temporary.ts";

async function linesOf(lines: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = [];
  for await (const line of lines) all.push(line);
  return all;
}

describe("a commit of many changes", () => {
  it(
    "becomes several transactions, none above the limit, and the last completes the commit",
    { tags: "rest/slow" },
    async () => {
      const plan = { directory: temporaryDirectory(), commits: 2, files: 30_000 };
      const { directory } = await makeRepository(plan);
      const lines = await linesOf(historyLines({ directory, name: "r", limit: 1 }));
      expect(lines.length).toBeGreaterThan(3);
      for (const line of lines) expect(Buffer.byteLength(line)).toBeLessThanOrEqual(MAX_TRANSACTION_BYTES);
      for (const line of lines.slice(0, -1)) {
        expect(Buffer.byteLength(line)).toBeGreaterThan(MAX_TRANSACTION_BYTES * 0.99);
      }
      const folded = new Folded();
      const oid = gitText(directory, "rev-parse", "HEAD~1");
      const read = lines.map((line) => JSON.parse(line));
      expect(read.map(({ id }) => id)).toEqual(lines.map((_, at) => `git:r:${oid}:${at + 1}`));
      expect(read.map((line) => folded.apply(line)).filter((commit) => commit !== undefined)).toEqual([oid]);
      expect(folded.commits.get(`r/${oid}`)?.changes).toBe(30_000);
      expect(sorted(folded.files)).toEqual([...(await filesByGit(directory, oid, "r"))]);
    },
  );

  it("results in the same files, however small its parts are", { tags: "rest/slow" }, async () => {
    const { directory } = await makeRepository({
      directory: temporaryDirectory(),
      commits: 100,
      seed: 21,
      files: 200,
    });
    const folded = new Folded();
    const lines = await linesOf(historyLines({ directory, name: "r", maxTransactionBytes: 6000 }));
    for (const line of lines) {
      expect(Buffer.byteLength(line)).toBeLessThanOrEqual(6000);
      folded.apply(JSON.parse(line));
    }
    expect(lines.length).toBeGreaterThan(101);
    expect(sorted(folded.files)).toEqual([...(await filesByGit(directory, "HEAD", "r"))]);
    expect(new Set(lines.map((line) => JSON.parse(line).id)).size).toBe(lines.length);
  });

  it("is refused if a single document is above the limit", { tags: "rest/slow" }, async () => {
    const directory = smallRepository();
    commitFiles(directory, "x".repeat(5000), { b: "2" });
    const lines = readLines(historyLines({ directory, maxTransactionBytes: 4000 }));
    await expect(lines).rejects.toThrow(HistoryError);
  });

  it("keeps the beginning of an enormous message, even if all of it must be escaped", async () => {
    const directory = smallRepository();
    const message = `${"\x01".repeat(100_000)}\n${"x".repeat(20_000)}`;
    commitFiles(directory, message, {});
    const [, line = ""] = await linesOf(historyLines({ directory, name: "r" }));
    expect(Buffer.byteLength(line)).toBeLessThanOrEqual(MAX_TRANSACTION_BYTES);
    const [[, , , document]] = JSON.parse(line).ops;
    expect(document.messageCut).toBe(true);
    expect(document.message).toBe(message.slice(0, MAX_MESSAGE_BYTES));
    expect(document.subject).toBe(message.slice(0, 500));
  });
});
