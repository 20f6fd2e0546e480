import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import type { ConfigInput } from "../src/config-sources.ts";
import { createSystem } from "../src/create-system.ts";
import { configOf } from "./support/read.ts";

/** What a command is run with: the variables that were printed with it, and its arguments. */
const SHOW = 'cairn() { echo "$PWD:$CAIRN_NODE_ID:$CAIRN_DIR:$NATS_URL:$*"; }; ';

async function printed(input: Partial<ConfigInput>): Promise<string> {
  return (await createSystem(await configOf(input))).commandLine("log recover");
}

/** Runs a command as it is printed, in a shell with the environment `env`. */
function run(command: string, env: NodeJS.ProcessEnv = {}): string {
  return execFileSync("/bin/sh", ["-c", SHOW + command], { cwd: "/", env, encoding: "utf8", stdio: "pipe" });
}

test.each(["/data/@cairn", "/data/a b's", "/data/<x>*$HOME", "/data/plain"])(
  "a command is printed with the folder %s of its node",
  async (dir) => {
    const command = await printed({ env: { CAIRN_NODE_ID: "a", CAIRN_DIR: dir }, cwd: "/srv" });
    expect(run(command)).toBe(`/:a:${dir}::log recover\n`);
  },
);

test("a password is taken from the shell, without which the command is not run", async () => {
  const env = { NATS_URL: "nats://user:hunter2@h:4222" };
  const command = await printed({ env, cwd: "/srv" });
  expect(command).not.toContain("hunter2");
  expect(run(command, env)).toContain(`:${env.NATS_URL}:log recover`);
  expect(() => run(command)).toThrow(/NATS_URL/);
});

const DIR = '"cairn/node": {"dir": "/data"}';
const NATS = '{"cairn/module": "cairn.nats/->tx-log"}';

test.each([
  ["a path in the working directory", `{${DIR}, "cairn/tx-log": {"path": "log"}}`, true],
  ["a path outside the working directory", `{${DIR}, "cairn/tx-log": {"path": "../log"}}`, true],
  ["a folder outside the working directory", '{"cairn/node": {"dir": "../data"}}', true],
  ["the default folder", "{}", true],
  [
    "the default folder of only the index",
    `{"cairn/tx-log": ${NATS}, "cairn/index-store": {"kv-store": {"checkpointer": null}}}`,
    true,
  ],
  ["only absolute paths", `{${DIR}}`, false],
])("with %s, a command begins in the node's working directory if it must", async (_what, json, isThere) => {
  const command = await printed({ json });
  expect(command.startsWith("cd /srv && ")).toBe(isThere);
});

test("a variable that the configuration expands is printed with its value, and a secret is taken from the shell", async () => {
  const json = `{${DIR}, "cairn/tx-log": {"cairn/module": "cairn.nats/->tx-log", "servers": ["nats://h"],
    "stream": "\${STREAM:-other}"}, "cairn/http-server": {"auth-token": "\${TOKEN}", "port": "\${PORT:-3000}"}}`;
  const command = await printed({ json, env: { STREAM: "mine", TOKEN: "hunter22", PATH: "/bin" } });
  expect(command).toMatch(/^STREAM=mine TOKEN="\$\{TOKEN:\?\}" cairn log recover /);
  expect(command).not.toContain("hunter22");
});

const IN_S3 = `{${DIR}, "cairn/index-store": {"kv-store": {"checkpointer": {
  "store": {"cairn/module": "cairn.s3/->checkpoint-store", "bucket": "backups", "region": "\${AWS_REGION}"}}}}}`;

test("the variables that the library of a store in S3 reads are printed, and keys are not", async () => {
  const read = {
    AWS_ENDPOINT_URL_S3: "https://s3.example:7070",
    AWS_PROFILE: "backup of b",
    AWS_SHARED_CREDENTIALS_FILE: "/etc/aws/keys",
    NODE_EXTRA_CA_CERTS: "/etc/ca.pem",
  };
  const keys = {
    AWS_ACCESS_KEY_ID: "hunter",
    AWS_SECRET_ACCESS_KEY: "hunter2",
    AWS_SESSION_TOKEN: "hunter3",
  };
  const env = { ...read, ...keys, AWS_REGION: "eu-central-1", AWS_DEFAULT_REGION: "" };
  const command = await printed({ json: IN_S3, env });
  expect(command).not.toContain("hunter");
  const shown = Object.keys(env).map((name) => `${name}=$${name}`);
  const set = execFileSync("/bin/sh", ["-c", `cairn() { echo "${shown.join("\n")}"; }; ${command}`], {
    env: {},
  });
  const expected = { AWS_REGION: "eu-central-1", ...read };
  const missing = {
    AWS_DEFAULT_REGION: "",
    AWS_ACCESS_KEY_ID: "",
    AWS_SECRET_ACCESS_KEY: "",
    AWS_SESSION_TOKEN: "",
  };
  const lines = Object.entries({ ...expected, ...missing }).map(([name, value]) => `${name}=${value}`);
  expect(String(set).trimEnd().split("\n").toSorted()).toEqual(lines.toSorted());
  expect(command.match(/AWS_REGION=/g)).toHaveLength(1);
  expect(await printed({ json: `{${DIR}}`, env })).not.toContain("AWS_");
});

test("a file that a library finds from the working directory is printed with its path", async () => {
  const env = { AWS_REGION: "r", AWS_CONFIG_FILE: "aws/config" };
  expect(await printed({ json: IN_S3, env })).toContain("AWS_CONFIG_FILE=/srv/aws/config ");
});

test("the address of an S3 service with a password is taken from the shell", async () => {
  const env = { AWS_REGION: "r", AWS_ENDPOINT_URL: "https://user:hunter2@h" };
  const command = await printed({ json: IN_S3, env });
  expect(command).not.toContain("hunter2");
  expect(() => run(command)).toThrow(/AWS_ENDPOINT_URL/);
});

test.each([
  ["checkpoint list", ""],
  ["checkpoint create", 'CAIRN_HTTP_AUTH_TOKEN="${CAIRN_HTTP_AUTH_TOKEN:?}" '],
])("%s is printed with the token of the server only if it asks the node", async (words, token) => {
  const env = { CAIRN_HTTP_AUTH_TOKEN: "a-token-of-24-characters" };
  const json = `{${DIR}, "cairn/http-server": {"port": 3000}}`;
  const system = await createSystem(await configOf({ json, env }));
  expect(system.commandLine(words).startsWith(`${token}cairn ${words} `)).toBe(true);
});

test.each(["null", '{"port": 0}'])(
  "a command that reads the store works as printed without its node, whose server is %s",
  async (server) => {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-printed-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const file = path.join(folder, "node.json");
    const store = {
      "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store",
      path: `${folder}/store`,
    };
    const checkpointer = JSON.stringify({
      "cairn/module": "cairn.checkpoint/->checkpointer",
      "approx-frequency": "PT1H",
      store,
    });
    const json = `{"cairn/http-server": ${server}, "cairn/index-store": {"kv-store": {"checkpointer": ${checkpointer}}}}`;
    await writeFile(file, json);
    await mkdir(`${folder}/store`);
    const command = (await createSystem(await configOf({ file, cwd: folder }))).commandLine(
      "checkpoint list",
    );
    const bundle = fileURLToPath(new URL("../../cli/dist/bundle/main.js", import.meta.url));
    const cairn = `cairn() { "${process.execPath}" "${bundle}" "$@"; }; `;
    const { PATH } = process.env;
    const options = { cwd: "/", env: { PATH }, encoding: "utf8", stdio: "pipe" } as const;
    expect(execFileSync("/bin/sh", ["-c", cairn + command], options)).toBe("");
  },
);
