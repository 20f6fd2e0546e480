import { readFile, writeFile } from "node:fs/promises";
import { connect as connectTcp, type Socket } from "node:net";
import type { TxOutcome } from "@cairn/client";
import { withoutOutcomes } from "@cairn/engine/testing";
import { connect } from "nats";
import type { BrokenCluster } from "../scene/broken-cluster.ts";
import type { HintScene, NodeStart } from "../scene/hint-scene.ts";

/** The command that imports people by name. */
const PEOPLE = "import ndjson - --key-member name --bucket people";

const LIST = "/api/v1/things?limit=1000";
/** The connections of the cluster `unread-responses` whose responses are not read. */
const unread: Socket[] = [];

/** Wrong requests. */
export const REQUESTS: readonly BrokenCluster[] = [
  {
    name: "no-token",
    failure: "a command has a wrong token",
    codes: ["UNAUTHORIZED"],
    async break(scene) {
      scene.token = "let-me-in";
      await scene.ready("a");
      return { output: await scene.runRefused("status --token wrong") };
    },
    hint: /to commands with --token or CAIRN_AUTH_TOKEN/,
    follow: async (scene) => await scene.runStep(`status --token ${scene.token}`),
  },
  {
    name: "no-right",
    failure: "a token does not have the right to a request",
    codes: ["FORBIDDEN"],
    async break(scene) {
      await limited(scene, { rights: ["read", "write"] });
      return { output: await scene.runRefused("status --token app-value") };
    },
    hint: /add "(observe)" to the rights of this token in cairn\/http-server of the node's configuration and restart the node/,
    async follow(scene, [, right = ""]) {
      await scene.restart("a", withToken({ rights: ["read", "write", right] }));
      await scene.node("a").ready();
      await scene.runStep("status --token app-value");
    },
  },
  {
    name: "other-bucket",
    failure: "a token does not apply to a bucket",
    codes: ["FORBIDDEN"],
    async break(scene) {
      await limited(scene, { rights: ["read", "write"], buckets: ["orders"] });
      return { output: await scene.runRefused("tx put things default/a 1 --token app-value") };
    },
    hint: /add "(things)" to the buckets of this token in cairn\/http-server of the node's configuration and restart the node/,
    async follow(scene, [, bucket = ""]) {
      await scene.restart("a", withToken({ rights: ["read", "write"], buckets: ["orders", bucket] }));
      await scene.node("a").ready();
      await scene.runStep("tx put things default/a 1 --token app-value");
    },
  },
  {
    name: "tx-invalid",
    failure: "an invalid transaction is submitted",
    codes: ["TX_INVALID"],
    async break(scene) {
      await scene.ready("a");
      return {
        output: await scene.runRefused("tx submit -", { input: '{"ops":[["putt","things","default/a",1]]}' }),
      };
    },
    hint: /unknown operation "putt"; known are (put), /,
    follow: async (scene) =>
      await scene.runStep("tx submit -", { input: '{"ops":[["put","things","default/a",1]]}' }),
  },
  {
    name: "past-to-come",
    failure: "a read asks for a transaction that the log does not have yet",
    codes: ["REQUEST_INVALID"],
    async break(scene) {
      await scene.ready("a");
      await scene.fill("a", 1, 3);
      return { output: await scene.runRefused("get things default/k1 --as-of 99") };
    },
    hint: /Use transaction (\d+) or an earlier one/,
    follow: async (scene, [, txId = ""]) => await scene.runStep(`get things default/k1 --as-of ${txId}`),
  },
  {
    name: "method-wrong",
    failure: "a program uses a method that the address does not support",
    codes: ["METHOD_NOT_ALLOWED"],
    async break(scene) {
      const address = `${await (await scene.ready("a")).url()}/api/v1/things/default/a`;
      const answer = await fetch(address, { method: "PATCH", body: "{}" });
      return { output: await answer.text() };
    },
    hint: /Use one of the allowed methods\. GET \/openapi\.json lists all addresses with their methods/,
    async follow(scene) {
      const url = await scene.node("a").url();
      await scene.step("look up the method in /openapi.json, and use PUT", async () => {
        const { paths } = (await (await fetch(`${url}/openapi.json`)).json()) as {
          readonly paths: Readonly<Record<string, object>>;
        };
        const method = Object.keys(paths["/api/v1/{bucket}/{namespace}/{name}"] ?? {}).find(
          (one) => one === "put",
        );
        const headers = { "content-type": "application/json" };
        const answer = await fetch(`${url}/api/v1/things/default/a`, {
          method: method ?? "",
          headers,
          body: "{}",
        });
        if (!answer.ok) throw new Error(await answer.text());
      });
    },
  },
  {
    name: "tx-too-large",
    failure: "a transaction is larger than a node accepts",
    codes: ["TX_TOO_LARGE"],
    async break(scene) {
      await scene.ready("a", { settings: { "cairn/http-server": { "max-body": 1_024 } } });
      return { output: await scene.runRefused("tx submit -", { input: transaction(2) }) };
    },
    hint: /Send a smaller body, such as several transactions instead of one/,
    async follow(scene) {
      await scene.runStep("tx submit -", { input: transaction(1) });
      await scene.runStep("tx submit -", { input: transaction(1, "b") });
    },
  },
  {
    name: "unread-responses",
    failure: "clients do not read the long responses to their requests",
    codes: ["OVERLOADED"],
    async break(scene) {
      const url = await (await scene.ready("a")).url();
      await scene.fillWith("a", 10, 900_000);
      unread.push(...Array.from({ length: 12 }, () => sendUnread(url)));
      for (let attempt = 0; attempt < 100; attempt += 1) {
        const answer = await fetch(`${url}${LIST}&timeout=PT0.1S`);
        const text = await answer.text();
        if (answer.status === 503) return { output: scene.record(text) };
      }
      throw new Error("The node has memory for all responses.");
    },
    hint: /Clients must read the responses to their requests, or close their connections/,
    async follow(scene) {
      await scene.step("close the connections of these clients, and send the request again", async () => {
        const url = await scene.node("a").url();
        for (const socket of unread.splice(0)) socket.destroy();
        const answer = await fetch(url + LIST);
        if (!answer.ok) throw new Error(await answer.text());
        await answer.text();
      });
    },
  },
  {
    name: "tx-timeout",
    failure: "the log does not answer in time",
    codes: ["TX_TIMEOUT"],
    async break(scene) {
      await scene.ready("a");
      scene.nats.freeze();
      const body = '{"id":"order-1","ops":[["put","things","default/a",1]]}';
      const url = `${await scene.node("a").url()}/api/v1/tx?await=true&timeout=PT1S`;
      const answer = await fetch(url, { method: "POST", body });
      const output = scene.record(await answer.text());
      scene.nats.thaw();
      return { output };
    },
    hint: /If the transaction has an id, send it again: it is applied only once/,
    follow: async (scene) =>
      await scene.runStep("tx submit -", {
        input: '{"id":"order-1","ops":[["put","things","default/a",1]]}',
      }),
  },
  {
    name: "no-document",
    failure: "a document's key is mistyped",
    codes: ["NOT_FOUND"],
    async break(scene) {
      await scene.ready("a");
      await scene.fill("a", 1, 1);
      return { output: await scene.runRefused("get things default/k11") };
    },
    hint: /cairn (list things)/,
    async follow(scene, [, command = ""]) {
      const { stdout } = await scene.runStep(command);
      await scene.runStep(`get things ${/default\/\S+/.exec(stdout)?.[0]}`);
    },
  },
  {
    name: "exists-already",
    failure: "a document that is to be created already exists",
    codes: ["CONFLICT"],
    async break(scene) {
      await scene.ready("a");
      await scene.run("tx put things default/a 1 --if-absent");
      return { output: await scene.runRefused("tx put things default/a 2 --if-absent") };
    },
    hint: /Read the document again and decide whether to write it/,
    async follow(scene) {
      await scene.runStep("get things default/a");
      await scene.runStep("tx put things default/a 2");
    },
  },
  {
    name: "past-gone",
    failure: "a watch asks for history that a policy has removed",
    codes: ["WATCH_COMPACTED"],
    async break(scene) {
      await scene.ready("a");
      await scene.run("policy apply -", { input: '{"history":{"things":{"keep":0}}}' });
      const lines = Array.from({ length: 2_500 }, (_, n) => `{"ops":[["put","things","default/same",${n}]]}`);
      await scene.run("load - --await", { input: `${lines.join("\n")}\n` });
      const { stdout } = await scene.run("tx show 1 --json");
      const { position } = JSON.parse(stdout) as TxOutcome;
      return { output: await scene.runRefused(`watch things --from ${position} --limit 1`) };
    },
    hint: /cairn (list) BUCKET, then cairn (watch) BUCKET (--from \d+-[0-9a-f]+)/,
    async follow(scene, [, list, watch, from]) {
      await scene.runStep(`${list} things`);
      await scene.runStep(`${watch} things ${from} --limit 1`);
    },
  },
  {
    name: "watched-from-an-id",
    failure: "a watch is to begin at a transaction's id, which is not a position",
    codes: ["REQUEST_INVALID"],
    async break(scene) {
      await scene.ready("a");
      await scene.run("tx put things default/a 1");
      await scene.run("tx put things default/a 2");
      return { output: await scene.runRefused("watch things --from 2 --limit 1") };
    },
    hint: /Use the position that came with the transaction \(cairn (tx show)( --url \S+)? (2) prints the present one\)/,
    async follow(scene, [, show, , txId]) {
      const { stdout } = await scene.runStep(`${show} ${txId}`);
      const position = /^Position +(\S+)$/m.exec(stdout)?.[1];
      await scene.runStep(`watch things --from ${position} --limit 1`);
    },
  },
  {
    name: "outcome-gone",
    failure: "a policy has removed the outcome of a transaction",
    codes: ["OUTCOME_REMOVED"],
    async break(scene) {
      await scene.ready("a");
      const lines = Array.from({ length: 100 }, (_, n) => `{"ops":[["put","things","default/k${n}",${n}]]}`);
      await scene.run("load - --await", { input: `${lines.join("\n")}\n` });
      await scene.stop("a");
      await withoutOutcomes(scene.path("a", "a-index", "live"), 64);
      await scene.ready("a");
      return { output: await scene.runRefused("tx show 3") };
    },
    hint: /read the (history) of a document that it wrote/,
    follow: async (scene, [, history]) => await scene.runStep(`${history} things default/k1`),
  },
  {
    name: "export-truncated",
    failure: "an export was cut off",
    codes: ["EXPORT_DAMAGED"],
    async break(scene) {
      await scene.ready("a");
      await scene.fill("a", 1, 3);
      const { stdout } = await scene.run("export");
      return { output: await scene.runRefused("load -", { input: stdout.slice(0, stdout.length / 2) }) };
    },
    hint: /Repeat the export, and use its whole output/,
    async follow(scene) {
      const { stdout } = await scene.runStep("export");
      await scene.runStep("load -", { input: stdout });
    },
  },
  {
    name: "export-changed",
    failure: "an export was changed on purpose",
    codes: ["EXPORT_DAMAGED"],
    async break(scene) {
      await scene.ready("a");
      await scene.fill("a", 1, 3);
      const { stdout } = await scene.run("export");
      await writeFile(scene.path("changed"), stdout.replaceAll('["put","', '["put","moved-'));
      return { output: await scene.runRefused(`load ${scene.path("changed")}`) };
    },
    hint: /If its lines were changed on purpose, remove the first and the last one/,
    async follow(scene) {
      const lines = (await readFile(scene.path("changed"), "utf8")).trimEnd().split("\n");
      await scene.runStep("load - --await", { input: `${lines.slice(1, -1).join("\n")}\n` });
    },
  },
  {
    name: "records-refused",
    failure: "some records of a source cannot be documents",
    codes: ["IMPORT_INCOMPLETE"],
    async break(scene) {
      await scene.ready("a");
      return { output: await scene.runRefused(PEOPLE, { input: '{"name":"anna"}\n{"nmae":"berta"}\n' }) };
    },
    hint: /Read (\S+\.ndjson), which names each of them with the reason\. Correct them in the source, .* run the command again/,
    async follow(scene, [, report = ""]) {
      const refused = await readFile(scene.path(report), "utf8");
      const { key } = JSON.parse(refused) as { key: string };
      const lines = ["anna", "berta"].map((name) => JSON.stringify({ name }));
      if (key !== "line 2") throw new Error(`The report names ${key}.`);
      await scene.runStep(PEOPLE, { input: lines.join("\n") });
    },
  },
  {
    name: "source-address",
    failure: "the address of an import's source is wrong",
    codes: ["SOURCE_UNREADABLE"],
    async break(scene) {
      await scene.ready("a");
      const connection = await connect({ servers: scene.nats.url });
      await (await connection.jetstream().views.kv("settings")).put("colour", '"blue"');
      await connection.close();
      return { output: await scene.runRefused("import nats-kv 127.0.0.1:1 settings") };
    },
    hint: /Check the address and the credentials, and make sure that the server is running\. Then run the command again/,
    async follow(scene) {
      await scene.runStep(`import nats-kv ${scene.nats.url} settings`);
      await scene.runStep("get settings colour");
    },
  },
];

/** Sends a request for a list, and does not read the response. */
function sendUnread(url: string): Socket {
  const socket = connectTcp(Number(new URL(url).port), "127.0.0.1");
  // The node may end the connection.
  socket.on("error", () => undefined);
  socket.pause();
  socket.write(`GET ${LIST} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  return socket;
}

/** Returns the options of a node with the token `app-value`, in addition to the one with all rights. */
function withToken(token: object): NodeStart {
  return {
    settings: { "cairn/http-server": { tokens: { app: { env: "APP_TOKEN", ...token } } } },
    env: { APP_TOKEN: "app-value" },
  };
}

async function limited(scene: HintScene, token: object): Promise<void> {
  scene.token = "let-me-in";
  await scene.ready("a", withToken(token));
}

function transaction(documents: number, name = "a"): string {
  const ops = Array.from({ length: documents }, (_, n) => [
    "put",
    "things",
    `default/${name}${n}`,
    "x".repeat(700),
  ]);
  return JSON.stringify({ ops });
}
