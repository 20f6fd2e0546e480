import { spawnSync } from "node:child_process";

/** The number of machines. */
export const MACHINES = 3;

/**
 * Machines with two networks, as network namespaces: clients use the outer one, and the machines reach each other over
 * the inner one, which can be cut. This process is in both. Requires root and `ip`.
 */
export class Network {
  readonly #tag = process.pid.toString(36);
  readonly #cut = new Set<string>();

  constructor() {
    for (const side of ["a", "b"]) {
      ip(`link add ${this.#bridge(side)} type bridge`);
      ip(`link set ${this.#bridge(side)} up`);
    }
    ip(`addr add 10.231.0.254/24 dev ${this.#bridge("a")}`);
    ip(`addr add 10.232.0.254/24 dev ${this.#bridge("b")}`);
    for (let machine = 0; machine < MACHINES; machine += 1) {
      const space = this.namespace(machine);
      ip(`netns add ${space}`);
      ip(`-n ${space} link set lo up`);
      for (const [side, address] of [
        ["a", this.outer(machine)],
        ["b", this.inner(machine)],
      ] as const) {
        const end = `${this.#bridge(side)}${machine}`;
        ip(`link add ${end} type veth peer name eth-${side} netns ${space}`);
        ip(`link set ${end} master ${this.#bridge(side)} up`);
        ip(`-n ${space} addr add ${address}/24 dev eth-${side}`);
        ip(`-n ${space} link set eth-${side} up`);
      }
    }
  }

  namespace(machine: number): string {
    return `cairn-${this.#tag}-${machine}`;
  }

  /** Returns the address at which clients reach a machine. */
  outer(machine: number): string {
    return `10.231.0.${machine + 1}`;
  }

  /** Returns the address at which the other machines reach a machine. */
  inner(machine: number): string {
    return `10.232.0.${machine + 1}`;
  }

  /** Cuts two machines off from each other. Packets are lost without an error. */
  cut(one: number, other: number): void {
    for (const [from, to] of [
      [one, other],
      [other, one],
    ] as const) {
      if (this.#cut.has(`${from}-${to}`)) continue;
      this.#cut.add(`${from}-${to}`);
      ip(`-n ${this.namespace(from)} route add blackhole ${this.inner(to)}/32`);
    }
  }

  isolate(machine: number): void {
    for (let other = 0; other < MACHINES; other += 1) if (other !== machine) this.cut(machine, other);
  }

  heal(): void {
    for (const pair of this.#cut) {
      const [from = 0, to = 0] = pair.split("-").map(Number);
      ip(`-n ${this.namespace(from)} route del blackhole ${this.inner(to)}/32`);
    }
    this.#cut.clear();
  }

  close(): void {
    for (let machine = 0; machine < MACHINES; machine += 1) ip(`netns del ${this.namespace(machine)}`);
    for (const side of ["a", "b"]) ip(`link del ${this.#bridge(side)}`);
  }

  #bridge(side: string): string {
    return `cj${this.#tag}${side}`;
  }
}

function ip(command: string): void {
  const { status, stderr, error } = spawnSync("ip", command.split(" "), { encoding: "utf8" });
  if (error !== undefined) throw new Error(`This needs ip (Debian's iproute2): ${error.message}`);
  if (status === 0) return;
  throw new Error(`ip ${command}: ${stderr.trim()} (network namespaces need root)`);
}
