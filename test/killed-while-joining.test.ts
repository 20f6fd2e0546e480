// @module-tag nats
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { historyLines, makeRepository } from "@cairn/example-git-history";
import { type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  createCheckpoint,
  runCairnOrThrow,
  NodeProcess,
  fixtureConfig,
} from "@cairn/test-support/cairn-process";
import { withLineBreaks } from "@cairn/test-support/files-oracle";

const KILLS = 20;
const FILES = "/api/v1/files";
/** The number of documents that nodes replay after they restored the checkpoint. */
const TAIL = 20;

/** Node A, with a checkpoint and a tail after it, and node B, which joins. */
class JoinScene {
  readonly folder: string;
  readonly nats: NatsTestServer;
  readonly a: NodeProcess;
  #b: NodeProcess | undefined;

  private constructor(folder: string, nats: NatsTestServer) {
    this.folder = folder;
    this.nats = nats;
    this.a = this.#start("a", "crux.edn");
  }

  /** Loads the history of a repository into node A. */
  static async open(commits: number): Promise<JoinScene> {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-killed-"));
    const scene = new JoinScene(folder, await startNatsServer());
    onTestFinished(() => scene.#close());
    const directory = path.join(folder, "repo.git");
    await makeRepository({ directory, commits, seed: 11 });
    await scene.a.ready();
    const url = await scene.a.url();
    const input = withLineBreaks(historyLines({ directory, name: "repo" }));
    await runCairnOrThrow(["load", "-", "--await", "--url", url], { input });
    await createCheckpoint(url);
    const tail = Array.from(
      { length: TAIL },
      (_, n) => `${JSON.stringify({ ops: [["put", "notes", `n${n}`, n]] })}\n`,
    );
    await runCairnOrThrow(["load", "-", "--await", "--url", url], { input: Readable.from(tail) });
    return scene;
  }

  startB(): NodeProcess {
    this.#b = this.#start("b", "crux.json");
    return this.#b;
  }

  /** Returns what node A answers about documents of its tail, others, and an absent one. */
  async known(): Promise<KnownAnswers> {
    const response = await fetch(`${await this.a.url()}${FILES}?limit=40`);
    const files = (await response.json()) as readonly { namespace: string; name: string }[];
    const keys = [...files.map(({ namespace, name }) => `${namespace}/${name}`), "repo/absent"];
    return await answersOf(this.a, [
      ...Array.from({ length: TAIL }, (_, n) => `/api/v1/notes/n${n}`),
      ...keys.map((key) => `${FILES}?key=${encodeURIComponent(key)}`),
    ]);
  }

  /** Returns what node B has left in its db-dir besides its index; a folder of restores may be empty. */
  async leftByB(): Promise<string[]> {
    const files = await readdir(path.join(this.folder, "b-index"), { recursive: true });
    return files.filter((file) => !/^(?:(?:live|lock)\/|staging$)/.test(file)).toSorted();
  }

  async loseIndexOfB(): Promise<void> {
    await rm(path.join(this.folder, "b-index"), { recursive: true, force: true });
  }

  #start(id: string, config: Parameters<typeof fixtureConfig>[0]): NodeProcess {
    const env = { NATS_URL: this.nats.url, CAIRN_CHECKPOINT_PATH: path.join(this.folder, "checkpoints") };
    return NodeProcess.start({ id, dir: this.folder, args: ["-f", fixtureConfig(config)], env });
  }

  async #close(): Promise<void> {
    await this.#b?.kill();
    await this.a.kill();
    await this.nats.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** The status of an answer, and its body with its revision. */
interface Answer {
  readonly status: number;
  readonly revision: number;
  readonly text: string;
}

/** What a node answers to reads, by address. */
type KnownAnswers = ReadonlyMap<string, Answer>;

/** Returns what a node answers to reads of these addresses. */
async function answersOf(node: NodeProcess, addresses: readonly string[]): Promise<KnownAnswers> {
  const url = await node.url();
  const answers = new Map<string, Answer>();
  for (const address of addresses) answers.set(address, await answerTo(url + address));
  return answers;
}

async function answerTo(address: string): Promise<Answer & { readonly isRefusal: boolean }> {
  const response = await fetch(address);
  const { status, headers } = response;
  const isRefusal = status === 503 && headers.has("retry-after");
  return { status, isRefusal, revision: revisionOf(headers), text: await response.text() };
}

function revisionOf(headers: Headers): number {
  return Number(/\d+/.exec(headers.get("etag") ?? "0")?.[0]);
}

/**
 * Reads a node while it joins, without pause and with stale=true, until it is killed. Each answer must be the one that
 * is known, or say that the document does not exist yet, or refuse; and none may be older than one before it.
 */
class JoiningReader {
  readonly wrong: string[] = [];
  /** Resolves with the first answer that is no refusal, or when the node has ended. */
  readonly firstAnswer: Promise<void>;
  #answer: () => void = () => undefined;
  readonly #node: NodeProcess;
  readonly #known: KnownAnswers;
  readonly #running: Promise<void>;
  #isEnding = false;
  /** The newest transaction that an answer has shown, or that the checkpoint is known to contain. */
  #seen: number;

  constructor(node: NodeProcess, known: KnownAnswers) {
    const files = [...known].filter(([address]) => address.startsWith(FILES));
    this.#seen = Math.max(...files.map(([, { revision }]) => revision));
    this.#node = node;
    this.#known = known;
    this.firstAnswer = new Promise((resolve) => (this.#answer = resolve));
    this.#running = this.#read();
  }

  /** Kills the node with `kill`, and resolves once the reading has ended. */
  async killed(kill: () => Promise<void>): Promise<void> {
    this.#isEnding = true;
    await kill();
    await this.#running;
  }

  async #read(): Promise<void> {
    try {
      const url = await this.#node.url();
      while (!this.#isEnding) {
        for (const [address, known] of this.#known)
          this.#compare(address, known, await answerTo(withStale(url + address)));
      }
    } catch (error) {
      if (!this.#isEnding) this.wrong.push(`no answer: ${String(error)}`);
    } finally {
      this.#answer();
    }
  }

  #compare(
    address: string,
    known: Answer,
    { isRefusal, ...answer }: Awaited<ReturnType<typeof answerTo>>,
  ): void {
    if (isRefusal) return;
    this.#answer();
    const isKnown = answer.status === known.status && answer.text === known.text;
    const isYetAbsent = answer.status === 404 && known.revision > this.#seen;
    if (!isKnown && !isYetAbsent)
      this.wrong.push(`${address} after ${this.#seen}: ${answer.status} ${answer.text.slice(0, 300)}`);
    this.#seen = Math.max(this.#seen, answer.revision);
  }
}

function withStale(address: string): string {
  return `${address}${address.includes("?") ? "&" : "?"}stale=true`;
}

/** Expects that node B, once started, is ready with the digest of node A. */
async function expectJoined(scene: JoinScene): Promise<void> {
  const b = scene.startB();
  await b.ready();
  expect(await b.digest()).toEqual(await scene.a.digest());
}

describe("a node that is killed while it joins", () => {
  it("is ready at the next start, with the same digest", async () => {
    const scene = await JoinScene.open(100);
    const b = scene.startB();
    await b.url();
    await b.kill();
    await expectJoined(scene);
  });

  it(
    `is ready at the next start, with the same digest, after ${KILLS} kills at random instants`,
    { tags: "rest/campaign" },
    async () => {
      const scene = await JoinScene.open(1_500);
      const begun = performance.now();
      let b = scene.startB();
      await b.url();
      const startMs = performance.now() - begun;
      await b.ready();
      const joinMs = performance.now() - begun - startMs;
      await b.kill();
      const left = await scene.leftByB();
      const known = await scene.known();
      const phases = new Set<string>();
      for (let kill = 0; kill < KILLS; kill += 1) {
        // Half of the starts restore into an empty folder. The other half find the files that the previous kill left
        // behind.
        if (kill % 2 === 0) await scene.loseIndexOfB();
        b = scene.startB();
        const reader = new JoiningReader(b, known);
        // A quarter of the delays begin once the node listens, and one that restores at its first answer. Otherwise, all
        // kills would come too early on a machine that has become busier.
        const moment = (["start", "start", "answer", "listening"] as const)[kill % 4];
        if (moment === "listening") await b.url();
        if (moment === "answer") await reader.firstAnswer;
        await delay(kill === 0 ? 0 : Math.random() * 1.1 * (moment === "start" ? startMs : joinMs / 2));
        phases.add(await phaseOf(b));
        await reader.killed(() => b.kill());
        expect(reader.wrong).toEqual([]);
      }
      await expectJoined(scene);
      // The kills hit the start, the join, and reads of the checkpoint that was being restored.
      expect(phases).toContain("starting");
      expect(phases).toContain("attached");
      expect(await scene.leftByB()).toEqual(left);
    },
  );
});

async function phaseOf(node: NodeProcess): Promise<string> {
  const url = await Promise.race([node.url(), delay(1, undefined)]);
  if (url === undefined) return "starting";
  const { phase, attached } = await node.status();
  return attached === null ? phase : "attached";
}
