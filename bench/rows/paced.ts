import { startEtcdIfFound } from "../harness/etcd.ts";
import { type ServerProcess, startNodeIn } from "../harness/node-process.ts";
import { type Contestant, ratioTarget, type Row } from "../harness/row.ts";

const PER_SECOND = 300;
const SECONDS = 20;

const ETCD = "etcd, HTTP gateway";
const ALONE = "cairn, embedded log";
const ONE = "cairn, one watches everything";
const MANY = "cairn, 100 watch a namespace each";
const CPU = "cpu ms each";
const MORE = "cpu ms more than without watchers";

/** The processor time of writes at a low rate, with and without watchers, compared with etcd. */
export const paced: Row = {
  name: "paced",
  title: `${PER_SECOND} PUTs a second over HTTP on one connection, each of which is flushed alone`,
  async prepare(workspace) {
    const node = await startNodeIn(workspace, "paced");
    const etcd = await startEtcdIfFound(workspace);
    let alone = Number.NaN;
    const pacing = (name: string, { port, pid }: ServerProcess, watchers = 0): Contestant => ({
      name,
      run: async () => {
        const server = name === ETCD ? "etcd" : "cairn";
        const load = { port, pid, server, watchers, perSecond: PER_SECOND, seconds: SECONDS } as const;
        const figures = await workspace.run("pace writes", load);
        const { [CPU]: each = Number.NaN } = figures;
        if (name === ALONE) alone = each;
        return watchers === 0 ? figures : { ...figures, [MORE]: each - alone };
      },
    });
    return {
      contestants: [
        ...(etcd === undefined ? [] : [pacing(ETCD, etcd)]),
        pacing(ALONE, node),
        pacing(ONE, node, 1),
        pacing(MANY, node, 100),
      ],
      targets: [
        ...(etcd === undefined ? [] : [ratioTarget(CPU, ALONE, ETCD, { atMost: 0.9 })]),
        { of: { contestant: ONE, metric: MORE }, atMost: 0.1 },
        { of: { contestant: MANY, metric: MORE }, atMost: 0.5 },
      ],
    };
  },
};
