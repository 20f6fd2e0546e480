import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { CAIRN, ROOT } from "@cairn/test-support/cairn-process";

const DEPLOY = path.join(ROOT, "deploy");

type Environment = Record<string, string>;

interface Compose {
  readonly services: Record<
    string,
    {
      image?: string;
      environment?: Environment;
      volumes: string[];
      depends_on?: Record<string, { condition: string }>;
    }
  >;
}

interface Variable {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: { secretKeyRef?: { name: string; key: string } };
}

interface Resource {
  readonly kind: string;
  readonly metadata: { name: string };
  readonly stringData?: Environment;
  readonly spec?: {
    readonly serviceName?: string;
    readonly selector?: { matchLabels?: Environment } & Environment;
    readonly template?: {
      readonly metadata: { labels: Environment };
      readonly spec: {
        readonly containers: readonly { env: Variable[]; ports: { name: string }[] }[];
        readonly volumes: readonly { configMap?: { name: string } }[];
      };
    };
  };
}

let folder = "";
let compose: Compose = { services: {} };
let resources: readonly Resource[] = [];
let generator: { readonly name: string; readonly files: readonly string[] } = { name: "", files: [] };

const text = (name: string): Promise<string> => readFile(path.join(DEPLOY, name), "utf8");
const one = (kind: string): Resource => {
  const found = resources.find((resource) => resource.kind === kind);
  if (found === undefined) throw new Error(`There is no ${kind}.`);
  return found;
};

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-deploy-"));
  compose = parse(await text("compose.yaml"), { merge: true }) as Compose;
  const kustomization = parse(await text("kubernetes/kustomization.yaml")) as {
    readonly resources: readonly string[];
    readonly configMapGenerator: readonly [typeof generator];
  };
  const { resources: files } = kustomization;
  [generator] = kustomization.configMapGenerator;
  const pages = await Promise.all(
    [...files, "secret.example.yaml"].map((name) => text(`kubernetes/${name}`)),
  );
  resources = pages.flatMap((page) => parseAllDocuments(page).map((document) => document.toJS() as Resource));
});
afterAll(async () => await rm(folder, { recursive: true, force: true }));

/** Returns what `config check` says about a configuration, in nothing but the given environment. */
async function checked(config: string, env: Environment): Promise<string> {
  const file = path.join(folder, "cairn.edn");
  await writeFile(file, config);
  const { stdout, stderr } = spawnSync(process.execPath, [CAIRN, "config", "check", "-f", file], {
    cwd: folder,
    env: { PATH: process.env["PATH"], ...env },
    encoding: "utf8",
  });
  return stdout + stderr;
}

/** Without these, the configuration is refused. */
const NEEDED = ["S3_BUCKET", "NATS_URL", "CAIRN_OPS_TOKEN", "CAIRN_APP_TOKEN", "CAIRN_METRICS_TOKEN"];

/** Expects that the configuration is correct, lacks nothing for production, and is rejected without its variables. */
async function expectNeeded(config: string, env: Environment): Promise<void> {
  expect(await checked(config, env)).toBe("ok\n");
  for (const name of NEEDED) {
    const { [name]: _, ...others } = env;
    expect(await checked(config, others)).toMatch(new RegExp(`CONFIG_INVALID: .*\\b${name}\\b`));
  }
}

describe("the configuration of the nodes", () => {
  it(
    "is correct in the environment of compose.yaml, and incorrect without its placeholders",
    { tags: "rest/slow" },
    async () => {
      const nodes = Object.entries(compose.services).filter(([name]) => name.startsWith("node-"));
      expect(nodes).toHaveLength(3);
      const environments = nodes.map(([name, { environment = {}, volumes }]) => {
        const env = Object.fromEntries(
          Object.entries(environment).map(([key, value]) => [
            key,
            value.replace(/^\$\{(\w+):\?.*\}$/, "secret-of-$1"),
          ]),
        );
        expect(env["CAIRN_NODE_ID"]).toBe(name);
        expect(volumes).toEqual(["./cairn.edn:/etc/cairn/cairn.edn:ro", `${name}:/var/lib/cairn`]);
        return env;
      });
      // They differ only in the name of the node.
      const [env = {}, ...others] = environments;
      for (const other of others) expect({ ...other, CAIRN_NODE_ID: "node-1" }).toEqual(env);
      await expectNeeded(await text("cairn.edn"), env);
    },
  );

  it(
    "is correct in the environment of the StatefulSet, with the values of the Secret",
    { tags: "rest/slow" },
    async () => {
      const secret = one("Secret");
      const [container] = one("StatefulSet").spec?.template?.spec.containers ?? [];
      const env: Environment = {};
      for (const { name, value, valueFrom } of container?.env ?? []) {
        const key = valueFrom?.secretKeyRef;
        if (key !== undefined) expect(key.name).toBe(secret.metadata.name);
        const set = value ?? (key === undefined ? "cairn-0" : secret.stringData?.[key.key]);
        if (set === undefined) throw new Error(`${name} has no value.`);
        env[name] = set;
      }
      expect(generator.files).toEqual(["cairn.edn"]);
      const config = await text("kubernetes/cairn.edn");
      expect(config).toBe(await text("cairn.edn"));
      await expectNeeded(config, env);
    },
  );

  it("is correct in the environment of the systemd unit", { tags: "rest/slow" }, async () => {
    const lines = (await text("systemd/cairn.env.example")).matchAll(/^(\w+)='(.*)'$/gm);
    await expectNeeded(
      await text("cairn.edn"),
      Object.fromEntries([...lines].map(([, name = "", value = ""]) => [name, value])),
    );
  });

  it("is given every value of the environment file as it is, also by the shell of commands", async () => {
    const secret = String.raw`a|b c&d;e <f> (g) $h \i "j" #k` + "`l`";
    const filled = (await text("systemd/cairn.env.example")).replaceAll("replace-me", () => secret);
    const etc = await mkdtemp(path.join(tmpdir(), "cairn-env-"));
    onTestFinished(() => rm(etc, { recursive: true }));
    await writeFile(path.join(etc, "cairn.env"), filled);
    const [, read = ""] = /^cd \/etc\/cairn && (.*)$/m.exec(await text("../docs/deployment.md")) ?? [];
    const { stdout, stderr } = spawnSync("sh", ["-c", `${read} && env`], { cwd: etc, encoding: "utf8" });
    expect(stderr).toBe("");
    expect(stdout.split("\n")).toEqual(
      expect.arrayContaining([`AWS_SECRET_ACCESS_KEY=${secret}`, `CAIRN_METRICS_TOKEN=${secret}-3`]),
    );
  });

  it("is named by the unit and the image, so that no node starts without it", async () => {
    expect(await text("systemd/cairn.service")).toMatch(/^ExecStart=\S+ start -f \/etc\/cairn\/cairn\.edn$/m);
    expect(await text("Dockerfile")).toMatch(/^CMD \["start", "-f", "\/etc\/cairn\/cairn\.edn"\]$/m);
  });
});

describe("the resources of Kubernetes", () => {
  it("refer to one another", () => {
    const { spec } = one("StatefulSet");
    const labels = spec?.template?.metadata.labels;
    const services = resources.filter(({ kind }) => kind === "Service");
    expect(services.map(({ metadata }) => metadata.name)).toContain(spec?.serviceName);
    for (const service of services) expect(service.spec?.selector).toEqual(labels);
    for (const kind of ["StatefulSet", "PodDisruptionBudget"])
      expect(one(kind).spec?.selector?.matchLabels).toEqual(labels);
    expect(spec?.template?.spec.volumes).toContainEqual({
      name: "config",
      configMap: { name: generator.name },
    });
  });
});

describe("the services of compose.yaml", () => {
  it("include the S3 service in the version that was tested", async () => {
    const [, tested] =
      /^\| versitygw ([\d.]+) /m.exec(await readFile(path.join(ROOT, "docs/s3.md"), "utf8")) ?? [];
    expect(compose.services["s3"]?.image).toBe(`ghcr.io/versity/versitygw:v${tested}`);
  });

  it("depend only on services that report their health, or that end", () => {
    for (const { depends_on = {} } of Object.values(compose.services)) {
      for (const [name, { condition }] of Object.entries(depends_on)) {
        const needed = compose.services[name];
        if (condition === "service_healthy") expect(needed).toHaveProperty("healthcheck");
        else expect([condition, needed]).toEqual(["service_completed_successfully", expect.anything()]);
      }
    }
  });
});
