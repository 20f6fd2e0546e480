import { expect, it } from "vitest";
import { CairnError } from "../../src/errors/errors.ts";
import { systemErrorOf, systemRefused } from "../../src/errors/system-errors.ts";
import { explainOpening, explainOperation } from "../../src/level/level-errors.ts";

const DIR = "/idx/live";

/** The errors of the table, each with the message of Linux, its meaning, and the error code for an index. */
const TABLE = [
  ["EMFILE", "Too many open files", "wait", "SYSTEM_REFUSED"],
  ["ENFILE", "Too many open files in system", "wait", "SYSTEM_REFUSED"],
  ["ENOMEM", "Cannot allocate memory", "wait", "SYSTEM_REFUSED"],
  ["EAGAIN", "Resource temporarily unavailable", "wait", "SYSTEM_REFUSED"],
  ["ENOSPC", "No space left on device", "full", "DISK_FULL"],
  ["EDQUOT", "Disk quota exceeded", "full", "DISK_FULL"],
  ["EFBIG", "File too large", "full", "DISK_FULL"],
  ["EACCES", "Permission denied", "denied", "CONFIG_INVALID"],
  ["EPERM", "Operation not permitted", "denied", "CONFIG_INVALID"],
  ["EROFS", "Read-only file system", "denied", "CONFIG_INVALID"],
  ["EIO", "Input/output error", "failing", "SYSTEM_REFUSED"],
] as const;

function saidByLevelDb(reason: string): Error {
  return Object.assign(new Error(`IO error: ${DIR}/000005.ldb: ${reason}`), { code: "LEVEL_IO_ERROR" });
}

it.each(TABLE)("%s, in LevelDB's words %j, is never damage to an index", (errno, text, meaning, code) => {
  const said = saidByLevelDb(text);
  expect(systemErrorOf(said)).toMatchObject({ errno, meaning });
  expect(explainOperation(said, DIR)).toMatchObject({ code, cause: said });
  const wrapped = Object.assign(new Error("Database failed to open", { cause: said }), {
    code: "LEVEL_DATABASE_NOT_OPEN",
  });
  expect(explainOpening(wrapped, DIR)).toMatchObject({ code, cause: said });
});

it.each(TABLE)("%s, the name that Node uses, has the same meaning", (errno, _text, meaning, code) => {
  const named = Object.assign(new Error(`${errno}: open '${DIR}/000005.ldb'`), { code: errno });
  expect(systemErrorOf(named)).toMatchObject({ errno, meaning });
  expect(explainOperation(named, DIR)).toMatchObject({ code });
});

it("a file system that became read-only is not a matter of permissions, so the hint names what repairs it", () => {
  const refused = explainOperation(saidByLevelDb("Read-only file system"), DIR);
  const hint =
    /^Mount its file system writable; a running node .* stop the node, repair the file system, and/;
  expect(refused).toMatchObject({ hint: expect.stringMatching(hint) as string });
});

it("a limit on the size of files is not a full disk, so the hint names the limit", () => {
  const refused = explainOperation(saidByLevelDb("File too large"), DIR);
  expect(refused).toMatchObject({ hint: expect.stringMatching(/ulimit -f/) as string });
});

it("an exceeded quota is recognized although Node knows only its number", () => {
  const unnamed = Object.assign(new Error("Unknown system error -122"), {
    code: "Unknown system error -122",
  });
  expect(systemErrorOf(unnamed)).toMatchObject({ errno: "EDQUOT" });
});

it.each([
  ["cannot be started", "ERR_WORKER_INIT_FAILED", "Worker initialization failure: EMFILE", "EMFILE"],
  ["has no memory", "ERR_WORKER_OUT_OF_MEMORY", "Worker terminated due to reaching memory limit", "ENOMEM"],
])("if a thread %s, the error names the missing resource", (_, code, message, errno) => {
  expect(systemErrorOf(Object.assign(new Error(message), { code }))).toMatchObject({ errno });
});

it("an error that LevelDB reports as corruption counts as corruption, whatever else the message contains", () => {
  const message = "Corruption: checksum mismatch: Too many open files";
  const damaged = Object.assign(new Error(message), { code: "LEVEL_CORRUPTION" });
  expect(systemErrorOf(damaged)).toBeUndefined();
  expect(explainOperation(damaged, DIR)).toMatchObject({ code: "INDEX_CORRUPT" });
});

it("a folder's name is not mistaken for LevelDB's message", () => {
  const odd = new Error("IO error: /Too many open files: x/000005.ldb: No such file or directory");
  expect(systemErrorOf(odd)).toBeUndefined();
});

it("an error that already has a code keeps its meaning", () => {
  const known = new CairnError("INDEX_CORRUPT", "Damaged.", { cause: saidByLevelDb("Input/output error") });
  expect(systemErrorOf(known)).toBeUndefined();
});

it("the error for users names the cause and what to do", () => {
  const said = saidByLevelDb("Too many open files");
  const system = systemErrorOf(said);
  if (system === undefined) throw new Error("not known");
  expect(systemRefused("The index in /idx/live", system, said)).toMatchObject({
    code: "SYSTEM_REFUSED",
    message: expect.stringMatching(/^The index in .* as many files open as it may \(EMFILE\)/),
    hint: expect.stringContaining("by itself"),
  });
});
