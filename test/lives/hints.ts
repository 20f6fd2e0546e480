import { setTimeout as delay } from "node:timers/promises";
import type { NodeStatus } from "@cairn/node";
import type { CommandResult } from "@cairn/test-support/cairn-process";
import type { LifeCluster, Member } from "./life-cluster.ts";
import type { Model } from "./model.ts";

const SETTLED_WITHIN_MS = 100_000;
/** An operator does not act on what is over a moment later. */
const STABLE_MS = 2_000;
/** What a command did shows in all nodes only within about 15 seconds. */
const EFFECT_MS = 20_000;
/** How many commands may be necessary, and how many hints may lead from one refused command to the next. */
const MAX_COMMANDS = 8;
const MAX_DEPTH = 4;

const VALUE = `(?:'[^']*'|"[^"]*"|[^\\s'"]+)`;
const PRINTED = new RegExp(
  `(?:cd ${VALUE} && )?(?:\\w+=${VALUE} )*cairn (?:checkpoint (?:create|verify|prune)|log (?:recover|trim|orphans|backup prune))` +
    `(?: (?:-f|-j|--from|--at-tx|--url|--log|--keep|--through) ${VALUE}| --[a-z][a-z-]*)*`,
  "g",
);
/** Hints that ask for the removal of the log before the command. */
const REMOVAL = /nats stream rm|move (?:this log's|the log's|the) folder away/i;

/** Returns the commands in a hint, as they are printed. */
export function printedCommands(hint: string): string[] {
  return [...hint.matchAll(PRINTED)].map(([command]) => command.replace(/[.,;:)`]+$/, ""));
}

/** What a node shows an operator who must do something; undefined if nothing is wrong. */
function troubleOf(status: NodeStatus | undefined): { hint: string; text: string } | undefined {
  if (status === undefined) return { hint: "", text: "it does not respond" };
  const { phase, failure, verdict, log } = status;
  const risk = log.warnings.find(
    ({ code, hint }) => code === "LOG_REGRESSED" && hint.includes("log recover"),
  );
  const hint = failure?.hint ?? (verdict.state === "failing" ? verdict.hint : null) ?? risk?.hint ?? "";
  if (phase === "ready" && verdict.state !== "failing" && risk === undefined) return undefined;
  return { hint, text: `${phase}: ${failure?.message ?? risk?.message ?? verdict.message}` };
}

/** Follows the hints of a life's nodes word by word, until all that are wanted are ready. */
export class Operator {
  readonly #cluster: LifeCluster;
  readonly #model: Model;
  /** The number of commands that hints have named. */
  followed = 0;
  /** Those that were refused, with the reasons. A hint should name what succeeds. */
  readonly refused: string[] = [];

  constructor(cluster: LifeCluster, model: Model) {
    this.#cluster = cluster;
    this.#model = model;
  }

  /** Returns whether all nodes became ready. That they do not is a violation. */
  async settle(why: string): Promise<boolean> {
    const deadline = Date.now() + SETTLED_WITHIN_MS;
    const since = new Map<string, number>();
    const done = new Map<string, number>();
    let quietUntil = 0;
    for (let commands = 0; ; await delay(200)) {
      const troubles = await this.#troubles();
      const [first] = troubles;
      if (first === undefined) return true;
      if (Date.now() > deadline || commands > MAX_COMMANDS) {
        const all = troubles.map(({ member, text, hint }) => `${member.id} is ${text}\n  hint: ${hint}`);
        this.#cluster.violated(`STUCK after ${commands} commands (${why}): ${all.join("\n")}`);
        return false;
      }
      for (const { member, hint, text } of troubles) {
        if (!since.has(hint)) this.#cluster.note(`${member.id} is ${text}\n  hint: ${hint}`);
        const seen = since.get(hint) ?? Date.now();
        since.set(hint, seen);
        const printed = printedCommands(hint);
        const times = done.get(hint) ?? 0;
        if (printed.length === 0 || Date.now() < Math.max(seen + STABLE_MS, quietUntil)) continue;
        done.set(hint, times + 1);
        commands += 1;
        await this.follow(member, hint, printed[times % printed.length] ?? "");
        quietUntil = Date.now() + EFFECT_MS;
        break;
      }
    }
  }

  async #troubles(): Promise<{ member: Member; hint: string; text: string }[]> {
    const wanted = this.#cluster.members.filter(({ isWanted }) => isWanted);
    for (const member of wanted) await this.#cluster.start(member);
    const found = await Promise.all(
      wanted.map(async (member) => {
        const trouble = troubleOf(await this.#cluster.status(member));
        return trouble === undefined ? [] : [{ member, ...trouble }];
      }),
    );
    return found.flat();
  }

  /** Runs a command of a hint on the machine of a node, and the commands to which its refusals lead. */
  async follow(member: Member, hint: string, command: string, depth = 1): Promise<CommandResult> {
    const cluster = this.#cluster;
    this.followed += 1;
    const asked = await this.#addressOfReady();
    const line = command.replace(/--url URL\b/, `--url ${asked}`);
    const result = await cluster.withoutNode(member, async () => {
      if (depth === 1 && REMOVAL.test(hint.slice(0, hint.indexOf(command)))) await cluster.log.remove();
      const ran = await cluster.shell(line);
      if (ran.code !== 0) this.refused.push(`${command}: ${ran.stderr.split("\n")[0]}`);
      // The hint of the refusal concerns a log that is not open either.
      return ran.code === 0 || depth >= MAX_DEPTH ? ran : await this.#followRefusal(member, line, ran, depth);
    });
    const after = /continues after transaction ([\d,]+)/.exec(result.stdout)?.[1];
    if (result.code === 0 && after !== undefined) this.#model.lost(Number(after.replaceAll(",", "")));
    return result;
  }

  async #followRefusal(
    member: Member,
    line: string,
    refused: CommandResult,
    depth: number,
  ): Promise<CommandResult> {
    const hint = /^ *hint: (.*)$/ms.exec(refused.stderr)?.[1] ?? "";
    const [next] = printedCommands(hint).filter((one) => one !== line);
    if (next !== undefined) return await this.follow(member, hint, next, depth + 1);
    if (hint.includes("--yes") && !line.includes("--yes"))
      return await this.follow(member, hint, `${line} --yes`, depth + 1);
    return refused;
  }

  async #addressOfReady(): Promise<string> {
    for (const member of this.#cluster.running) {
      if ((await this.#cluster.status(member))?.phase === "ready") return (await member.process?.url()) ?? "";
    }
    return "http://127.0.0.1:9";
  }
}
