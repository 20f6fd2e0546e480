import { describe, expect, it } from "vitest";
import { HistoryError, expectedFiles, expectedHistory, makeRepository, pathOfName } from "../src/index.ts";
import { commitFiles, git, gitText, smallRepository, temporaryDirectory } from "./support/temporary.ts";

async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const value of values) list.push(value);
  return list;
}

describe("the expected files", () => {
  it.each([31, 32, 33])("are exactly the files that git lists, byte for byte (seed %d)", async (seed) => {
    const { directory } = await makeRepository({ directory: temporaryDirectory(), commits: 200, seed });
    const files = await all(expectedFiles(directory));
    const entries = files.map(({ name, document }) => {
      const kind = document.type === "submodule" ? "commit" : "blob";
      const path = pathOfName(document.path ?? name).toString("latin1");
      return `${document.mode} ${kind} ${document.blob}\t${path}\0`;
    });
    const listed = git(directory, "ls-tree", "-r", "-z", "HEAD").toString("latin1");
    expect(entries.toSorted()).toEqual(listed.split(/(?<=\0)/).toSorted());
  });

  it.each([34, 35])("are sorted by the bytes of their names (seed %d)", async (seed) => {
    const { directory } = await makeRepository({ directory: temporaryDirectory(), commits: 400, seed });
    const names = (await all(expectedFiles(directory))).map(({ name }) => Buffer.from(name));
    expect(names).toEqual(names.toSorted((a, b) => a.compare(b)));
    expect(new Set(names.map(String)).size).toBe(names.length);
  });

  it("are empty for a commit without files", async () => {
    const directory = smallRepository();
    commitFiles(directory, "nothing left", { a: null });
    expect(await all(expectedFiles(directory))).toEqual([]);
  });

  it("are the files of the whole commit, even if they are read from a subdirectory", async () => {
    const directory = smallRepository();
    git(directory, "checkout-index", "-a");
    commitFiles(directory, "below", { "sub/b": "2" });
    git(directory, "checkout", "-q", "HEAD", "--", "sub");
    const names = (await all(expectedFiles(`${directory}/sub`))).map(({ name }) => name);
    expect(names).toEqual(["a", "sub/b"]);
  });

  it("are refused for a ref that names no commit", async () => {
    await expect(all(expectedFiles(smallRepository(), "nowhere"))).rejects.toThrow(HistoryError);
  });
});

describe("the expected history of a path", () => {
  it(
    "contains only first-parent commits, and for a merge its change from the first parent",
    { tags: "rest/slow" },
    async () => {
      const directory = smallRepository();
      git(directory, "checkout", "-q", "-b", "side");
      commitFiles(directory, "one", { a: "2" });
      commitFiles(directory, "two", { a: "3" });
      git(directory, "checkout", "-q", "-f", "main");
      commitFiles(directory, "elsewhere", { b: "1" });
      git(directory, "merge", "-q", "--no-ff", "-m", "merge", "side");
      const history = await all(expectedHistory(directory, Buffer.from("a")));
      expect(history.map(({ commit }) => commit)).toEqual([
        gitText(directory, "rev-parse", "HEAD~2"),
        gitText(directory, "rev-parse", "HEAD"),
      ]);
    },
  );

  it(
    "interprets a path literally, even if it looks like a pattern or an option",
    { tags: "rest/slow" },
    async () => {
      const directory = smallRepository();
      commitFiles(directory, "patterns", {
        "*": "1",
        ":(glob)**": "2",
        "-p": "3",
        "$(x)'\"": "4",
        "%s\\n": "5",
      });
      for (const path of ["*", ":(glob)**", "-p", "$(x)'\"", "%s\\n"]) {
        const history = await all(expectedHistory(directory, Buffer.from(path)));
        expect(history.map(({ commit }) => commit)).toEqual([gitText(directory, "rev-parse", "HEAD")]);
      }
    },
  );

  it("is empty for a path that never existed, and for a directory", async () => {
    const directory = smallRepository();
    commitFiles(directory, "below", { "sub/b": "2" });
    expect(await all(expectedHistory(directory, Buffer.from("sub")))).toEqual([]);
    expect(await all(expectedHistory(directory, Buffer.from("never")))).toEqual([]);
  });
});
