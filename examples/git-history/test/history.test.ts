import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { HistoryError, expectedHistory, historyLines, makeRepository, pathOfName } from "../src/index.ts";
import { Folded, filesByGit, readLines, sorted } from "./support/folded.ts";
import { commitFiles, git, gitText, smallRepository, temporaryDirectory } from "./support/temporary.ts";

function running(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === "ProcessWrap").length;
}

describe("the history of a generated repository", () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    "results in git's files at every stage (seed %d)",
    { tags: "rest/slow" },
    async (seed) => {
      const { directory } = await makeRepository({ directory: temporaryDirectory(), commits: 300, seed });
      const folded = new Folded();
      let number = 0;
      for (const line of await readLines(historyLines({ directory, name: "r" }))) {
        const commit = folded.apply(line);
        if (commit === undefined) continue;
        number += 1;
        if (number % 60 !== 0 && number > 3) continue;
        expect(sorted(folded.files)).toEqual([...(await filesByGit(directory, commit, "r"))]);
      }
      expect(number).toBe(300);
    },
  );

  it("contains every path's history as git log shows it", { tags: "rest/slow" }, async () => {
    const { directory } = await makeRepository({ directory: temporaryDirectory(), commits: 250, seed: 11 });
    const folded = new Folded();
    for (const line of await readLines(historyLines({ directory, name: "r" }))) folded.apply(line);
    const histories = [...folded.histories].filter(([key], at) => at % (key.includes("%") ? 5 : 20) === 0);
    expect(histories.length).toBeGreaterThan(30);
    for (const [key, history] of histories) {
      const name = key.slice(2);
      const full = history.find(({ document }) => document?.path !== undefined)?.document?.path;
      const byGit = [];
      for await (const change of expectedHistory(directory, pathOfName(full ?? name))) byGit.push(change);
      expect({ name, history }).toEqual({ name, history: byGit });
    }
  });

  it("describes every commit as git does", { tags: "rest/slow" }, async () => {
    const { directory } = await makeRepository({ directory: temporaryDirectory(), commits: 200, seed: 12 });
    const folded = new Folded();
    for (const line of await readLines(historyLines({ directory, name: "r" }))) folded.apply(line);
    const oids = gitText(directory, "rev-list", "--first-parent", "--reverse", "HEAD").split("\n");
    expect([...folded.commits.keys()]).toEqual(oids.map((oid) => `r/${oid}`));
    for (const [at, oid] of oids.entries()) {
      const bytes = git(directory, "cat-file", "commit", oid);
      const raw = bytes.toString(/^encoding ISO-8859-1$/m.test(bytes.toString("latin1")) ? "latin1" : "utf8");
      const lines = raw.slice(0, raw.indexOf("\n\n")).split("\n");
      const document = folded.commits.get(`r/${oid}`);
      const values = (field: string) =>
        lines
          .filter((line) => line.startsWith(`${field} `))
          .map((line) => line.slice(field.length).trimStart());
      expect(document?.number).toBe(at + 1);
      expect(values("tree")).toEqual([document?.tree]);
      expect(values("parent")).toEqual(document?.parents);
      for (const field of ["author", "committer"] as const) {
        const { name, email, time, zone } = document?.[field] ?? {};
        const signature = `${name === "" ? "" : `${name} `}<${email}> ${Date.parse(time ?? "") / 1000} ${zone}`;
        expect(values(field)).toEqual([signature]);
      }
      expect(document?.message).toBe(raw.slice(raw.indexOf("\n\n") + 2).replace(/\n+$/, ""));
    }
  });

  it("is the same in a repository of SHA-256 object ids", async () => {
    const plan = { directory: temporaryDirectory(), commits: 100, seed: 13, objectFormat: "sha256" } as const;
    const { directory, head } = await makeRepository(plan);
    const folded = new Folded();
    for (const line of await readLines(historyLines({ directory, name: "r" }))) folded.apply(line);
    expect(head).toHaveLength(64);
    expect(folded.commits.has(`r/${head}`)).toBe(true);
    expect(sorted(folded.files)).toEqual([...(await filesByGit(directory, "HEAD", "r"))]);
  });

  it(
    "is always identical, byte for byte, even if it is printed in parts",
    { tags: "rest/slow" },
    async () => {
      const { directory } = await makeRepository({ directory: temporaryDirectory(), commits: 200, seed: 14 });
      const name = "r";
      const all = await readLines(historyLines({ directory, name }));
      expect(await readLines(historyLines({ directory, name }))).toEqual(all);
      const half = gitText(directory, "rev-list", "--first-parent", "HEAD").split("\n")[100] ?? "";
      const first = await readLines(historyLines({ directory, name, ref: half }));
      const second = await readLines(historyLines({ directory, name, sinceCommit: half }));
      expect(first.length).toBe(100);
      expect([...first, ...second]).toEqual(all);
      expect(await readLines(historyLines({ directory, name, limit: 30 }))).toEqual(all.slice(0, 30));
      const limited = historyLines({ directory, name, limit: 5, sinceCommit: half });
      expect(await readLines(limited)).toEqual(all.slice(100, 105));
      expect(await readLines(historyLines({ directory, name, limit: 0 }))).toEqual([]);
      expect(await readLines(historyLines({ directory, name, sinceCommit: "HEAD" }))).toEqual([]);
    },
  );
});

describe("the history of a repository", () => {
  it("shows renames, modes, links, submodules and changes of type as puts and deletions", async () => {
    const directory = smallRepository();
    const oid = gitText(directory, "rev-parse", "HEAD:a");
    const submodule = "1".repeat(oid.length);
    commitFiles(directory, "rename", { a: null, b: "1" });
    commitFiles(directory, "mode", { b: { mode: "100755", oid } });
    commitFiles(directory, "link", { b: { mode: "120000", oid } });
    commitFiles(directory, "submodule", { b: { mode: "160000", oid: submodule } });
    commitFiles(directory, "to a directory", { b: null, "b/c": "1" });
    commitFiles(directory, "", {});
    const lines = await readLines(historyLines({ directory, name: "r" }));
    expect(lines.map(({ ops }) => ops.filter(([, bucket]) => bucket === "files"))).toEqual([
      [["put", "files", "r/a", { mode: "100644", type: "file", blob: oid }]],
      [
        ["delete", "files", "r/a"],
        ["put", "files", "r/b", { mode: "100644", type: "file", blob: oid }],
      ],
      [["put", "files", "r/b", { mode: "100755", type: "executable", blob: oid }]],
      [["put", "files", "r/b", { mode: "120000", type: "symlink", blob: oid }]],
      [["put", "files", "r/b", { mode: "160000", type: "submodule", blob: submodule }]],
      [
        ["delete", "files", "r/b"],
        ["put", "files", "r/b/c", { mode: "100644", type: "file", blob: oid }],
      ],
      [],
    ]);
    expect(lines.at(-1)?.ops).toMatchObject([
      ["put", "commits", expect.any(String), { subject: "", changes: 0 }],
    ]);
  });

  it("does not depend on the user's git settings", { tags: "rest/slow" }, async () => {
    const directory = smallRepository();
    commitFiles(directory, "rename", { a: null, "sub/b": "1", "sub/é": "2" });
    commitFiles(directory, "an é to encode", {});
    commitFiles(directory, "submodule", { m: { mode: "160000", oid: "1".repeat(40) } });
    const plain = await readLines(historyLines({ directory, name: "r" }));
    const settings = {
      "diff.renames": "copies",
      "diff.ignoreSubmodules": "all",
      "submodule.m.ignore": "all",
      "submodule.m.path": "m",
      "diff.relative": "true",
      "diff.noprefix": "true",
      "log.showRoot": "false",
      "log.diffMerges": "off",
      "log.showSignature": "true",
      "core.quotePath": "true",
      "core.abbrev": "4",
      "color.ui": "always",
      "i18n.logOutputEncoding": "ISO-8859-1",
      "log.date": "relative",
      "format.pretty": "oneline",
    };
    writeFileSync(join(directory, ".gitmodules"), '[submodule "m"]\npath = m\nurl = x\nignore = all\n');
    for (const [setting, value] of Object.entries(settings)) git(directory, "config", setting, value);
    expect(await readLines(historyLines({ directory, name: "r" }))).toEqual(plain);
    expect((await filesByGit(directory, "HEAD", "r")).size).toBe(3);
  });

  it("ignores replaced and grafted commits", async () => {
    const directory = smallRepository();
    const first = gitText(directory, "rev-parse", "HEAD");
    const second = commitFiles(directory, "second", { b: "2" });
    commitFiles(directory, "third", { c: "3" });
    const plain = await readLines(historyLines({ directory, name: "r" }));
    git(directory, "replace", second, first);
    execFileSync("sh", ["-c", `mkdir -p .git/info && echo ${second} > .git/info/grafts`], { cwd: directory });
    expect(await readLines(historyLines({ directory, name: "r" }))).toEqual(plain);
    expect(plain).toHaveLength(3);
  });

  it("begins with the oldest commit of a shallow clone", async () => {
    const origin = smallRepository();
    commitFiles(origin, "second", { b: "2" });
    commitFiles(origin, "third", { c: "3" });
    const directory = join(temporaryDirectory(), "clone");
    git(origin, "clone", "-q", "--bare", "--depth", "2", `file://${origin}`, directory);
    const [first, ...more] = await readLines(historyLines({ directory }));
    expect(first?.ops.map(([, , key]) => key)).toEqual([
      "clone/a",
      "clone/b",
      expect.stringMatching(/^clone\//),
    ]);
    expect(first?.ops.at(-1)).toMatchObject([
      "put",
      "commits",
      expect.any(String),
      { number: 1, parents: [] },
    ]);
    expect(more).toHaveLength(1);
  });

  it(
    "is named after the repository's directory, even when it is read from a subdirectory",
    { tags: "rest/slow" },
    async () => {
      const root = temporaryDirectory();
      const work = join(root, "project.x");
      git(root, "clone", "-q", smallRepository(), work);
      git(root, "clone", "-q", "--bare", work, join(root, "project.git"));
      execFileSync("mkdir", [join(work, "sub")]);
      for (const place of ["project.x", "project.x/sub", "project.x/.git"]) {
        const [line] = await readLines(historyLines({ directory: join(root, place) }));
        expect(line?.ops[0]?.[2]).toBe("project.x/a");
      }
      const [bare] = await readLines(historyLines({ directory: join(root, "project.git") }));
      expect(bare?.ops[0]?.[2]).toBe("project/a");
    },
  );

  it("has the given name in its keys and its ids", async () => {
    const directory = smallRepository();
    const oid = gitText(directory, "rev-parse", "HEAD");
    const [line] = await readLines(historyLines({ directory, name: "größer: 1" }));
    expect(line?.id).toBe(`git:gr%C3%B6%C3%9Fer%3A%201:${oid}`);
    expect(line?.ops[0]?.[2]).toBe("größer: 1/a");
  });

  it("is refused for a name that cannot be a namespace", async () => {
    const directory = smallRepository();
    for (const name of ["", "a/b", "é".repeat(127)]) {
      await expect(readLines(historyLines({ directory, name }))).rejects.toThrow(HistoryError);
    }
  });

  it("is refused if the commit from which to continue is not in the first-parent history", async () => {
    const directory = smallRepository();
    git(directory, "checkout", "-q", "-b", "side");
    const side = commitFiles(directory, "side", { s: "1" });
    git(directory, "checkout", "-q", "main");
    git(directory, "merge", "-q", "--no-ff", "-m", "merge", "side");
    const lines = readLines(historyLines({ directory, sinceCommit: side }));
    await expect(lines).rejects.toThrow(/not on the requested first-parent history/);
  });

  it("fails with git's own message if an object is missing", async () => {
    const directory = smallRepository();
    commitFiles(directory, "second", { b: "2" });
    const tree = gitText(directory, "rev-parse", "HEAD^{tree}");
    execFileSync("rm", ["-f", join(directory, ".git/objects", tree.slice(0, 2), tree.slice(2))]);
    await expect(readLines(historyLines({ directory }))).rejects.toThrow(new RegExp(`diff-tree.*${tree}`));
  });

  it("leaves no process behind when its reader stops early", { tags: "rest/slow" }, async () => {
    const { directory } = await makeRepository({
      directory: temporaryDirectory(),
      commits: 1500,
      files: 5000,
    });
    await vi.waitFor(() => expect(running()).toBe(0));
    let read = 0;
    for await (const line of historyLines({ directory })) {
      read += line.length;
      expect(running()).toBeGreaterThan(0);
      break;
    }
    expect(read).toBeGreaterThan(0);
    await vi.waitFor(() => expect(running()).toBe(0));
  });
});
