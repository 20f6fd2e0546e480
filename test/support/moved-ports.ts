import { freePort } from "@cairn/log-nats/testing";

/** Returns a free port for each port that a page of the documentation uses. */
export async function freePorts(...used: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const ports = new Map<string, string>();
  for (const port of used) ports.set(port, String(await freePort()));
  return ports;
}

/** Replaces ports in a script, all at once, because a new port may contain the digits of another one. */
export function movePorts(script: string, ports: ReadonlyMap<string, string>): string {
  return script.replaceAll(new RegExp([...ports.keys()].join("|"), "g"), (port) => ports.get(port) ?? port);
}
