import { freePort } from "@cairn/log-nats/testing";
import type { Workspace } from "../data/workspace.ts";
import type { AskedReads, ServedReads } from "../steps/http-reads.ts";
import type { Figures } from "./figures.ts";

/** Starts a server, reads from it over HTTP, and returns the figures of the reads. */
export async function readOverHttp(
  workspace: Workspace,
  server: Omit<ServedReads, "port">,
  load: Omit<AskedReads, "port">,
): Promise<Figures> {
  const port = await freePort();
  const serving = workspace.run("serve reads", { ...server, port });
  const asking = workspace.run("ask reads", { ...load, port });
  const [served, asked] = await Promise.all([serving, asking]);
  const { "server cpu s": seconds = Number.NaN } = served;
  return { ...asked, "server cpu us each": (1e6 * seconds) / load.reads };
}
