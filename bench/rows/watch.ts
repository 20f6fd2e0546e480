import { mkdir, rm } from "node:fs/promises";
import { freePort } from "@cairn/log-nats/testing";
import type { Workspace } from "../data/workspace.ts";
import { type Contestant, ratioTarget, type Row, type Target } from "../harness/row.ts";

const WATCHERS = 1_000;
const PER_SECOND = 2_000;
const SECONDS = 10;
const NOBODY = "nobody watches";
const OWN = "1,000 watch a namespace each";
const ALL = "1,000 watch everything";

/** The slowdown that watchers cause on a node under load, and the events that watchers miss. */
export const watch: Row = {
  name: "watch",
  title: "2,000 transactions per second arrive while 1,000 clients watch over HTTP",
  prepare(workspace) {
    return Promise.resolve({
      contestants: [
        watched(workspace, NOBODY, undefined),
        watched(workspace, OWN, { own: true }),
        watched(workspace, ALL, { own: false }),
      ],
      targets: [OWN, ALL].flatMap((contestant): Target[] => [
        ratioTarget("tx/s", contestant, NOBODY, { atLeast: 0.8 }),
        { of: { contestant, metric: "events lost" }, atMost: 0 },
        { of: { contestant, metric: "events doubled" }, atMost: 0 },
      ]),
    });
  },
};

function watched(
  workspace: Workspace,
  name: string,
  watchers: { readonly own: boolean } | undefined,
): Contestant {
  return {
    name,
    run: async () => {
      const dir = workspace.fresh("watched");
      await mkdir(dir);
      const port = await freePort();
      const load = { dir, port, namespaces: WATCHERS, perSecond: PER_SECOND, seconds: SECONDS };
      const serving = workspace.run("serve watches", {
        ...load,
        watchers: watchers === undefined ? 0 : WATCHERS,
      });
      const transactions = PER_SECOND * SECONDS;
      const watching =
        watchers === undefined
          ? undefined
          : workspace.run("watch node", { port, count: WATCHERS, own: watchers.own, transactions });
      const [served, seen] = await Promise.all([serving, watching]);
      await rm(dir, { recursive: true });
      const { "events told": told = 0, "events lost": lost = 0, "events doubled": doubled = 0 } = seen ?? {};
      return { ...served, "events told": told, "events lost": lost, "events doubled": doubled };
    },
  };
}
