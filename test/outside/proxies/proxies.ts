import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "@cairn/log-nats/testing";
import { ROOT } from "@cairn/test-support/cairn-process";
import { debianProgram } from "../debian-program.ts";

const PAGE = join(ROOT, "docs/proxies.md");

/** A running proxy. */
export interface Proxy {
  readonly url: string;
  stop(): Promise<void>;
}

/** The instructions for starting a kind of proxy. */
interface Kind {
  readonly packages: readonly string[];
  /** The line before its configuration in docs/proxies.md. */
  readonly block: string;
  /** Completes the page's configuration for a test. */
  complete(block: string, port: number, folder: string): string;
  args(file: string, folder: string): string[];
}

const KINDS: Readonly<Record<string, Kind>> = {
  haproxy: {
    packages: ["haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"],
    block: "```\n",
    complete: (block, port) =>
      `defaults\n  mode http\n  timeout connect 2s\n  timeout client 1h\nfrontend all\n  bind 127.0.0.1:${port}\n  default_backend cairn\n${block}`,
    args: (file) => ["-f", file, "-db"],
  },
  nginx: {
    packages: ["nginx", "nginx-common"],
    block: "```nginx\n",
    complete: (block, port, folder) => {
      const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map((name) => `${name}_temp_path ${folder}/${name};`)
        .join("\n");
      // As the page recommends for transactions that all have an id.
      const served = block
        .replace("http_503;", "http_503 non_idempotent;")
        .replace("listen 80;", `listen 127.0.0.1:${port};`);
      return `daemon off;\nuser root;\npid ${folder}/nginx.pid;\nerror_log ${folder}/error.log;\nevents {}\nhttp {\naccess_log off;\n${paths}\n${served}\n}\n`;
    },
    args: (file, folder) => ["-p", folder, "-c", file, "-e", join(folder, "error.log")],
  },
};

/** The proxies for which docs/proxies.md has a configuration. */
export const PROXIES = Object.keys(KINDS);

/** Starts a proxy for the nodes at these ports, with the configuration from docs/proxies.md. */
export async function startProxy(name: string, folder: string, ports: readonly number[]): Promise<Proxy> {
  const kind = KINDS[name];
  if (kind === undefined) throw new Error(`there is no proxy ${name}`);
  const program = await debianProgram(name, kind.packages);
  const page = await readFile(PAGE, "utf8");
  const from = page.indexOf(kind.block) + kind.block.length;
  let block = page.slice(from, page.indexOf("```", from));
  for (const [index, port] of ports.entries())
    block = block.replace(`10.0.0.${index + 1}:3000`, `127.0.0.1:${port}`);
  const port = await freePort();
  await mkdir(folder, { recursive: true });
  const file = join(folder, "proxy.conf");
  await writeFile(file, kind.complete(block, port, folder));
  const child: ChildProcess = spawn(program.path, kind.args(file, folder), {
    env: program.env,
    stdio: ["ignore", "inherit", "inherit"],
  });
  const exited = once(child, "exit");
  const url = `http://127.0.0.1:${port}`;
  while (!(await answers(`${url}/health/ready`))) {
    if (child.exitCode !== null) throw new Error(`${name} exited with ${child.exitCode}`);
    await delay(100);
  }
  return {
    url,
    async stop() {
      child.kill("SIGTERM");
      await exited;
    },
  };
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url)).status === 200;
  } catch {
    return false;
  }
}
