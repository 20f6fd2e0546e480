import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { problemsOf } from "./support/read.ts";

const store = { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path: "/srv/cp" };
const checkpointer = { store, "approx-frequency": "PT1H", encryption: { "key-file": "/no/keys" } };
const log = { "cairn/module": "cairn.nats/->tx-log", servers: "tls://127.0.0.1:1" };
const tls = { "ca-file": "/no/ca", "cert-file": "/no/cert", "key-file": "/no/key" };

describe("the files that a node needs", () => {
  it("are all refused at once with their positions if they cannot be read, beside other problems", async () => {
    const rights = ["read"];
    const json = JSON.stringify({
      "cairn/tx-log": { ...log, "credentials-file": "/no/creds", tls },
      "cairn/http-server": {
        tls: { cert: "/no/node.crt", key: "/no/node.key", "client-ca": "/no/clients" },
        tokens: { app: { file: "/no/app", rights }, ops: { env: "UNSET", rights } },
      },
      "cairn/index-store": { "kv-store": { checkpointer } },
    });
    const problems = await problemsOf({ json, isForNode: true });
    expect(problems.map(({ message }) => message)).toEqual([
      ...["creds", "ca", "cert", "key", "node.crt", "node.key", "clients", "app"].map(unreadable),
      "The environment variable UNSET is not set.",
      unreadable("keys"),
    ]);
    for (const { place } of problems) expect(place).toMatch(/^-j:1:\d+$/);
    expect(await problemsOf({ json })).toEqual([]);
  });

  it("are refused if they are pipes or folders", async () => {
    const folder = await mkdtemp(join(tmpdir(), "cairn-files-"));
    onTestFinished(async () => await rm(folder, { recursive: true }));
    const pipe = join(folder, "pipe");
    execFileSync("mkfifo", [pipe]);
    for (const file of [pipe, folder]) {
      const encryption = { "key-file": file };
      const object = {
        "cairn/index-store": { "kv-store": { checkpointer: { ...checkpointer, encryption } } },
      };
      const problems = await problemsOf({ json: JSON.stringify(object), isForNode: true });
      expect(problems.map(({ message }) => message)).toEqual([`The file ${file} is not a regular file.`]);
    }
  });

  it.each([
    ["the seed of an nkey", { "nkey-seed-file": "FILE" }],
    ["credentials", { "credentials-file": "FILE" }],
    ["a certificate", { tls: { "ca-file": "FILE" } }],
  ])("are refused if they do not contain %s for NATS", async (what, parameters) => {
    const folder = await mkdtemp(join(tmpdir(), "cairn-files-"));
    onTestFinished(async () => await rm(folder, { recursive: true }));
    const file = join(folder, "file");
    await writeFile(file, "text\n");
    const object = { "cairn/tx-log": { ...log, ...parameters } };
    const json = JSON.stringify(object).replace("FILE", file);
    expect(await problemsOf({ json, isForNode: true })).toMatchObject([
      {
        path: ["cairn/tx-log"],
        message: expect.stringContaining(`${file}, does not contain ${what}.`) as string,
      },
    ]);
    expect(await problemsOf({ json })).toEqual([]);
  });
});

function unreadable(name: string): string {
  return `The file /no/${name} cannot be read (ENOENT).`;
}
