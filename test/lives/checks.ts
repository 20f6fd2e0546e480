import type { Follower } from "./follower.ts";
import type { LifeCluster, Member } from "./life-cluster.ts";
import {
  BUCKETS,
  difference,
  type Documents,
  type Feed,
  foldOf,
  readDocuments,
  readFeed,
  readOwnIndex,
  TRACKED,
} from "./reading.ts";
import type { Life } from "./state.ts";

const QUIET_WITHIN_SECONDS = 60;
const FOLLOWED_WITHIN_SECONDS = 30;
const PAST_READS = 2;

/** Waits until all nodes that run are ready and have the same last transaction of the log, and returns it. */
export async function quiet(
  cluster: LifeCluster,
  seconds = QUIET_WITHIN_SECONDS,
): Promise<number | undefined> {
  return await cluster.until(seconds, async () => {
    const all = await Promise.all(cluster.running.map((member) => cluster.status(member)));
    const ends = all
      .map((one) => (one?.phase === "ready" ? [one.index.txId, one.log.lastTxId] : [null]))
      .flat();
    const [end] = ends;
    return typeof end === "number" && ends.every((one) => one === end) ? end : undefined;
  });
}

/** Compares all nodes that run with one another, with the model, and with the watcher. Returns the last transaction. */
export async function check({
  cluster,
  model,
  follower,
  picks,
  isPending,
}: Life): Promise<number | undefined> {
  const { running } = cluster;
  if (running.length === 0) return undefined;
  const end = await quiet(cluster);
  if (end === undefined) {
    const all = await Promise.all(running.map((member) => cluster.status(member)));
    const states = all.map(
      (one) =>
        `${one?.node} ${one?.phase} ${one?.index.txId} of ${one?.log.lastTxId}: ${one?.failure?.message}`,
    );
    cluster.violated(`NOT QUIET: ${states.join("; ")}`);
    return undefined;
  }
  const digests = await Promise.all(
    running.map(async ({ process: node }) => JSON.stringify(await node?.digest())),
  );
  if (new Set(digests).size > 1) cluster.violated(`DIGESTS DIFFER: ${digests.join(" ")}`);
  const past = Array.from({ length: PAST_READS }, () => 1 + picks.below(end));
  const views = await Promise.all(running.map((member) => viewOf(member, end, past)));
  const [first] = views;
  if (first === undefined) return end;
  if (cluster.scene.ownIndex !== undefined)
    await Promise.all(running.map((member) => checkOwnIndex(cluster, member, end, first)));
  for (const [n, view] of views.entries()) {
    const problem = differenceOf(view, first);
    if (problem !== undefined)
      cluster.violated(`${running[n]?.id} differs from ${running[0]?.id} in ${problem}`);
  }
  judgeView(cluster, first, past);
  const feeds = [...first.feeds.values()];
  for (const problem of model.compare(feeds, isPending)) cluster.violated(problem);
  await checkFollower(cluster, follower, first.feeds.get(follower.bucket) ?? new Map());
  cluster.note(`checked at ${end}: ${model.committed} committed, digest ${digests[0]}`);
  return end;
}

/** Everything that a node answers. */
interface View {
  readonly feeds: Map<string, Feed>;
  /** By the bucket and, for the past, the transaction. */
  readonly documents: Map<string, Documents>;
  readonly found: string[];
}

async function viewOf(member: Member, end: number, past: readonly number[]): Promise<View> {
  const url = (await member.process?.url()) ?? "";
  const view: View = { feeds: new Map(), documents: new Map(), found: [] };
  for (const bucket of TRACKED) {
    view.feeds.set(bucket, await readFeed(url, bucket, end));
    for (const asOf of past) view.documents.set(`${bucket} ${asOf}`, await readDocuments(url, bucket, asOf));
  }
  for (const bucket of BUCKETS) view.documents.set(bucket, await readDocuments(url, bucket));
  const found = (await (await fetch(`${url}/api/v1/things?where=state:run&limit=1000`)).json()) as {
    name: string;
  }[];
  view.found.push(...found.map(({ name }) => name).toSorted());
  return view;
}

function differenceOf(one: View, other: View): string | undefined {
  for (const [bucket, feed] of one.feeds) {
    const problem = difference(feed, other.feeds.get(bucket) ?? new Map());
    if (problem !== undefined) return `the changes of ${bucket}, transaction ${problem}`;
  }
  for (const [place, documents] of one.documents) {
    const problem = difference(documents, other.documents.get(place) ?? new Map());
    if (problem !== undefined) return `the documents of ${place}, ${problem}`;
  }
  return one.found.join() === other.found.join() ? undefined : "the list by an indexed field";
}

/** Compares the documents of a node with the fold of its changes. */
function judgeView(cluster: LifeCluster, { feeds, documents, found }: View, past: readonly number[]): void {
  for (const [bucket, feed] of feeds) {
    for (const asOf of [undefined, ...past]) {
      const place = asOf === undefined ? bucket : `${bucket} ${asOf}`;
      const problem = difference(documents.get(place) ?? new Map(), foldOf(feed, asOf));
      if (problem !== undefined)
        cluster.violated(`the documents of ${place} are not the fold of its changes: ${problem}`);
    }
  }
  const running = [...(documents.get("things") ?? [])].filter(([, text]) => text.includes('"state":"run"'));
  const names = running.map(([key]) => key.slice(key.indexOf("/") + 1)).toSorted();
  if (names.join() !== found.join())
    cluster.violated(`an indexed field finds ${found.join()}, not ${names.join()}`);
}

async function checkOwnIndex(
  cluster: LifeCluster,
  { id, process: node }: Member,
  end: number,
  { documents }: View,
): Promise<void> {
  const expected = new Map<string, string>();
  for (const [address, text] of documents.get("things") ?? []) {
    const space = text.indexOf(" ");
    const { state = null, uid = null, n = null } = JSON.parse(text.slice(space)) as Record<string, unknown>;
    expected.set(address, JSON.stringify([Number(text.slice(0, space)), state, uid, n]));
  }
  try {
    const problem = difference(await readOwnIndex((await node?.url()) ?? "", end), expected);
    if (problem !== undefined)
      cluster.violated(`the own index of ${id} differs from its documents: ${problem}`);
  } catch (error) {
    cluster.violated(`the own index of ${id} at ${end}: ${String(error)}`);
  }
}

async function checkFollower(cluster: LifeCluster, follower: Follower, feed: Feed): Promise<void> {
  let problem: string | undefined = "";
  await cluster.until(FOLLOWED_WITHIN_SECONDS, async () => {
    problem = difference(follower.changes, feed);
    return problem === undefined ? true : undefined;
  });
  if (problem !== undefined) cluster.violated(`THE WATCHER DIFFERS: transaction ${problem}`);
}

/** Compares the exit codes of `cairn status` with what the nodes say. */
export async function checkExitCodes(cluster: LifeCluster): Promise<void> {
  for (const member of cluster.running) {
    const { code, stdout } = await cluster.ask("status", member);
    const isFailing = /^Failing /m.test(stdout);
    if (code !== (isFailing ? 3 : 0))
      cluster.violated(`cairn status of ${member.id} ended with ${code}:\n${stdout}`);
  }
}
