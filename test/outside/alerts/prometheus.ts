import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "@cairn/log-nats/testing";
import type { DebianProgram } from "../debian-program.ts";
import type { NightNode } from "./night-node.ts";

/** Durations of rules are divided by this, so that a night takes minutes. */
export const FACTOR = 60;
/** The shortest shortened duration: a restart must still fit into a minute of the rules (s). */
const SHORTEST_S = 10;
const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** Returns alert rules whose `for` and ranges are shortened. */
export function shortened(rules: string): string {
  return rules.replaceAll(/(for: |\[)(\d+)([smhd])/g, (_, before: string, count: string, unit: string) => {
    const seconds = Math.max(SHORTEST_S, Math.round((Number(count) * (UNITS[unit] ?? 1)) / FACTOR));
    return `${before}${seconds}s`;
  });
}

/** An alert that fires. */
export interface FiringAlert {
  readonly alert: string;
  readonly instance: string | undefined;
  readonly code: string | undefined;
}

interface Sample {
  readonly metric: Readonly<Record<string, string>>;
}

/** Debian's Prometheus with the job of docs/metrics.md, which scrapes the targets of a file each second. */
export class Prometheus {
  readonly #folder: string;
  readonly #url: string;
  readonly #child: ChildProcess;

  private constructor(folder: string, url: string, child: ChildProcess) {
    this.#folder = folder;
    this.#url = url;
    this.#child = child;
  }

  static async start({ path, env }: DebianProgram, folder: string, rules: string): Promise<Prometheus> {
    const job = {
      job_name: "cairn",
      tls_config: { insecure_skip_verify: true },
      authorization: { credentials_file: join(folder, "credentials") },
      file_sd_configs: [{ files: [join(folder, "targets.json")], refresh_interval: "1s" }],
    };
    const config = {
      global: { scrape_interval: "1s", scrape_timeout: "1s", evaluation_interval: "1s" },
      rule_files: [join(folder, "alerts.yml")],
      scrape_configs: [job],
    };
    await writeFile(join(folder, "alerts.yml"), shortened(rules));
    await writeFile(join(folder, "prometheus.json"), JSON.stringify(config));
    await writeFile(join(folder, "targets.json"), "[]");
    await writeFile(join(folder, "credentials"), "first");
    const address = `127.0.0.1:${await freePort()}`;
    const args = ["--config.file", join(folder, "prometheus.json"), "--web.listen-address", address];
    const storage = ["--storage.tsdb.path", join(folder, "tsdb"), "--log.level", "error"];
    const child = spawn(path, [...args, ...storage], { env, stdio: ["ignore", "inherit", "inherit"] });
    const prometheus = new Prometheus(folder, `http://${address}`, child);
    while (!(await prometheus.#isReady())) {
      if (child.exitCode !== null) throw new Error(`prometheus exited with ${child.exitCode}`);
      await delay(100);
    }
    return prometheus;
  }

  /** Sets the targets. A node whose scrapes become slow is scraped less often. */
  async target(nodes: readonly NightNode[], slow: NightNode): Promise<void> {
    const rare = { __scrape_interval__: "5s", __scrape_timeout__: "5s" };
    const groups = nodes.map((node) => ({
      targets: [node.address],
      labels: { __scheme__: node.scheme, ...(node === slow && rare) },
    }));
    // Prometheus must not read half of the file.
    const file = join(this.#folder, "targets.json");
    await writeFile(`${file}.next`, JSON.stringify(groups));
    await rename(`${file}.next`, file);
  }

  async query(query: string): Promise<readonly Sample[]> {
    const response = await fetch(`${this.#url}/api/v1/query?${new URLSearchParams({ query })}`);
    const answer = (await response.json()) as { error?: string; data?: { result: Sample[] } };
    if (answer.data === undefined) throw new Error(`${query}: ${answer.error}`);
    return answer.data.result;
  }

  /** Returns the alerts that fire, or that fired within the last seconds. */
  async firing(withinS = 0): Promise<FiringAlert[]> {
    const alerts = 'ALERTS{alertstate="firing"}';
    const found = await this.query(withinS === 0 ? alerts : `last_over_time(${alerts}[${withinS}s])`);
    return found.map(({ metric: { alertname = "", instance, code } }) => ({
      alert: alertname,
      instance,
      code,
    }));
  }

  async stop(): Promise<void> {
    const exited = once(this.#child, "exit");
    this.#child.kill();
    await exited;
  }

  async #isReady(): Promise<boolean> {
    return await fetch(`${this.#url}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
  }
}
