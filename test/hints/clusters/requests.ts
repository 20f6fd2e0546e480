import type { BrokenCluster } from "../scene/broken-cluster.ts";

/** What is asked for wrongly. */
export const REQUESTS: readonly BrokenCluster[] = [
  {
    name: "no-token",
    failure: "a command has a wrong token",
    codes: ["UNAUTHORIZED"],
    async break(scene) {
      scene.token = "let-me-in";
      await scene.ready("a");
      return { said: await scene.refusal("status --token wrong") };
    },
    hint: /commands take --token or CAIRN_AUTH_TOKEN/,
    follow: async (scene) => await scene.does(`status --token ${scene.token}`),
  },
  {
    name: "tx-invalid",
    failure: "what is submitted is not a transaction",
    codes: ["TX_INVALID"],
    async break(scene) {
      await scene.ready("a");
      return {
        said: await scene.refusal("tx submit -", { input: '{"ops":[["putt","things","default/a",1]]}' }),
      };
    },
    hint: /unknown operation "putt"; known are (put), /,
    follow: async (scene) =>
      await scene.does("tx submit -", { input: '{"ops":[["put","things","default/a",1]]}' }),
  },
  {
    name: "past-to-come",
    failure: "a read asks for a past that the log does not have yet",
    codes: ["REQUEST_INVALID"],
    async break(scene) {
      await scene.ready("a");
      await scene.fill("a", 1, 3);
      return { said: await scene.refusal("get things default/k1 --as-of 99") };
    },
    hint: /Ask for transaction (\d+) or an earlier one/,
    follow: async (scene, [, txId = ""]) => await scene.does(`get things default/k1 --as-of ${txId}`),
  },
  {
    name: "method-wrong",
    failure: "a program asks by a method that the address does not take",
    codes: ["METHOD_NOT_ALLOWED"],
    async break(scene) {
      const address = `${await (await scene.ready("a")).url()}/api/v1/things/default/a`;
      const answer = await fetch(address, { method: "PATCH", body: "{}" });
      return { said: await answer.text() };
    },
    hint: /GET \/openapi\.json lists all addresses with their methods/,
    async follow(scene) {
      const url = await scene.node("a").url();
      await scene.act("look into /openapi.json, and use PUT", async () => {
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
    failure: "a transaction is larger than a node takes",
    codes: ["TX_TOO_LARGE"],
    async break(scene) {
      await scene.ready("a", { settings: { "cairn/http-server": { "max-body": 1_024 } } });
      return { said: await scene.refusal("tx submit -", { input: transaction(2) }) };
    },
    hint: /Split it into several transactions/,
    async follow(scene) {
      await scene.does("tx submit -", { input: transaction(1) });
      await scene.does("tx submit -", { input: transaction(1, "b") });
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
      const said = scene.reads(await answer.text());
      scene.nats.thaw();
      return { said };
    },
    hint: /If it has an id, it can be sent again safely: it is applied once/,
    follow: async (scene) =>
      await scene.does("tx submit -", { input: '{"id":"order-1","ops":[["put","things","default/a",1]]}' }),
  },
  {
    name: "no-document",
    failure: "a document's key is mistyped",
    codes: ["NOT_FOUND"],
    async break(scene) {
      await scene.ready("a");
      await scene.fill("a", 1, 1);
      return { said: await scene.refusal("get things default/k11") };
    },
    hint: /cairn (list things)/,
    async follow(scene, [, command = ""]) {
      const { stdout } = await scene.does(command);
      await scene.does(`get things ${/default\/\S+/.exec(stdout)?.[0]}`);
    },
  },
  {
    name: "exists-already",
    failure: "a document is to be made that is there already",
    codes: ["CONFLICT"],
    async break(scene) {
      await scene.ready("a");
      await scene.ask("tx put things default/a 1 --if-absent");
      return { said: await scene.refusal("tx put things default/a 2 --if-absent") };
    },
    hint: /Read the document again and decide anew/,
    async follow(scene) {
      await scene.does("get things default/a");
      await scene.does("tx put things default/a 2");
    },
  },
  {
    name: "past-gone",
    failure: "a watch is to begin in a past that a policy has removed",
    codes: ["WATCH_COMPACTED"],
    async break(scene) {
      await scene.ready("a");
      await scene.ask("policy apply -", { input: '{"history":{"things":{"keep":0}}}' });
      const lines = Array.from({ length: 2_500 }, (_, n) => `{"ops":[["put","things","default/same",${n}]]}`);
      await scene.ask("load - --await", { input: `${lines.join("\n")}\n` });
      return { said: await scene.refusal("watch things --from 1 --limit 1") };
    },
    hint: /cairn (list) BUCKET, then cairn (watch) BUCKET (--from \d+)/,
    async follow(scene, [, list, watch, from]) {
      await scene.does(`${list} things`);
      await scene.does(`${watch} things ${from} --limit 1`);
    },
  },
];

function transaction(documents: number, name = "a"): string {
  const ops = Array.from({ length: documents }, (_, n) => [
    "put",
    "things",
    `default/${name}${n}`,
    "x".repeat(700),
  ]);
  return JSON.stringify({ ops });
}
