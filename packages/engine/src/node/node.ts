import { completeCommands, isoTime, namedCommand, VERSION, withCommands } from "@cairn/text";
import { listRetained } from "@cairn/checkpoint";
import { systemClock, CairnError, hintToStart, isCairnError, startTimer, wait } from "@cairn/kv";
import { requireThreadFiles } from "@cairn/kv/threads";
import { type Logger, pino } from "pino";
import {
  CairnClient,
  type ClientOptions,
  type Director,
  type ListedCheckpoint,
  type NodeStatus,
  type Phase,
  type VerifiedSummary,
} from "@cairn/client";
import { LIMITS } from "@cairn/client/protocol";
import type { NodeEventListener } from "../observe/node-event.ts";
import { IndexDirectory } from "../db-dir/index-directory.ts";
import type { CheckpointResult, NodeApi } from "../api/node-api.ts";
import { type AnsweredRequest, resourceUse } from "../observe/resource-use.ts";
import { INDEX_VERSION } from "../index/rows/index-state.ts";
import { type NodeLife, nodeLife } from "./node-life.ts";
import { NodeAppends } from "./node-appends.ts";
import { LocalAccess } from "./local-access.ts";
import { type NodeMetrics, NodeObservation } from "./node-observation.ts";
import { NodeReporting, type ReportingParts } from "./node-reporting.ts";
import { NodeReads } from "./node-reads.ts";
import { ReadyLag } from "./ready-lag.ts";
import { proposePolicies } from "./propose-policies.ts";
import { nodeClosed, notReady } from "../api/not-ready.ts";
import { nodeReadiness, nodeStatus } from "./node-status.ts";
import { findingTimes } from "../findings/finding-times.ts";
import type { HttpOptions, System } from "../api/system.ts";
import { type AskedIndex, queryIndex } from "../own-indexes/queries/index-queries.ts";
import { indexNamed } from "../own-indexes/own-indexes.ts";
import { QueryProcesses } from "../own-indexes/queries/query-processes.ts";
import { allStores, closeStores, requireStore } from "../checkpoints/checkpoint-stores.ts";
import { checkpointResult, listedCheckpoint } from "../checkpoints/checkpoint-summary.ts";

/** The time within which requests in progress may end (ms). A node must stop within 10 s. */
const HTTP_STOP_MS = 2_000;
/** The part of that time during which these requests may wait for the index (ms). */
const INDEX_WAIT_AT_STOP_MS = 1_000;

export interface RunOptions {
  readonly logger?: Logger;
  /** Called at the beginning and the end of each task, such as a checkpoint round or a trim. */
  readonly onEvent?: NodeEventListener;
  /** The approximate interval between comparisons with other nodes (ms). Only tests set it. */
  readonly compareEveryMs?: number;
  /** Settings that determine when a stall is reported. Only tests set them. */
  readonly stall?: ReportingParts["stall"];
}

export interface CairnNode extends NodeApi, AsyncDisposable {
  /** Returns a client of this node alone, without HTTP. The node stops its directors before itself. */
  client(options?: Pick<ClientOptions, "readYourWrites">): CairnClient;
  /**
   * Resolves when the node is ready for the first time. Rejects if it is closed before that, or has failed and will not
   * try again; the error is the failure, if there is one.
   */
  readonly ready: Promise<void>;
  readonly url: string | undefined;
}

interface NodeServer {
  readonly url: string;
  /** Makes every later response close its connection. Requests are still accepted. */
  drain(): void;
  close(): Promise<void>;
}

interface ServerContext {
  readonly logger: Logger;
  /** Completes the commands in a hint for those who may read the node's status. */
  readonly completeHint: (hint: string) => string;
  /** The time for which requests in progress may continue when the server closes (ms). */
  readonly closeTimeoutMs: number;
  readonly onAnswered: (request: AnsweredRequest) => void;
  readonly onCertificate: NodeMetrics["onCertificate"];
  /** Called when changed files of the server cannot be used, and without a problem once they can be used again. */
  readonly onFiles: (paths: readonly string[], problem: CairnError | undefined) => void;
  readonly onRefused: (problem: CairnError) => void;
}

export interface NodeParts {
  readonly serve: (api: NodeApi, options: HttpOptions, context: ServerContext) => Promise<NodeServer>;
  /** Returns the node's metrics. `onError` receives the error of a source that failed. */
  readonly measure: (system: System, onError: (source: string, error: unknown) => void) => NodeMetrics;
}

/**
 * Starts the node that a system describes. Resolves once the node's HTTP server is bound, so that health and progress
 * are visible while the node joins. Throws `CONFIG_MODULE` if files of Cairn are missing, `INDEX_LOCKED` if another
 * process uses the db-dir, `DISK_FULL`, or the errors of the HTTP server such as `PORT_IN_USE`, and leaves nothing
 * behind.
 */
export async function runEngine(
  system: System,
  parts: NodeParts,
  { logger, ...options }: RunOptions = {},
): Promise<CairnNode> {
  requireThreadFiles();
  const completing = {
    log: (line: object): Record<string, unknown> => ({ ...withCommands(line, system.commandLine) }),
  };
  const completed = (logger ?? pino({ level: "silent" })).child({}, { formatters: completing });
  const directory = await IndexDirectory.acquire(system.dbDir).catch(notStarted);
  try {
    const node = new RunningNode(system, directory, { ...options, parts, logger: completed });
    await node.open();
    return node.api;
  } catch (error) {
    await directory.release();
    return notStarted(error);
  }
}

function notStarted(error: unknown): never {
  if (!isCairnError(error)) throw error;
  const { code, message, hint: whileRunning = "" } = error;
  const hint = hintToStart(whileRunning);
  if (hint === whileRunning) throw error;
  throw new CairnError(code, `The node did not start. ${message}`, { hint, cause: error });
}

/** A node without its reads and submissions, which `api` adds. */
class RunningNode implements Omit<CairnNode, keyof NodeReads | "submit"> {
  readonly api: CairnNode;

  readonly id: string;
  readonly version = VERSION;
  readonly ready: Promise<void>;
  readonly #system: System;
  readonly #directory: IndexDirectory;
  readonly #serve: NodeParts["serve"];
  readonly #logger: Logger;
  readonly #resources: ReturnType<typeof resourceUse>;
  readonly #life: NodeLife;
  readonly #appends: NodeAppends;
  readonly #reads: NodeReads;
  readonly #reporting: NodeReporting;
  readonly #dated = findingTimes();
  readonly #lag: ReadyLag;
  readonly #queries: QueryProcesses;
  #http: NodeServer | undefined;
  readonly #directors = new Set<Director>();
  #resolveReady: () => void = () => {};
  #rejectReady: (error: Error) => void = () => {};
  #closing: Promise<void> | undefined;

  constructor(
    system: System,
    directory: IndexDirectory,
    options: RunOptions & { readonly parts: NodeParts; readonly logger: Logger },
  ) {
    const { parts, logger, stall = {}, onEvent, compareEveryMs } = options;
    this.id = system.nodeId;
    this.#system = system;
    this.#directory = directory;
    this.#serve = parts.serve;
    this.#resources = resourceUse(system.dbDir);
    this.#logger = logger;
    this.ready = new Promise((resolve, reject) => {
      this.#resolveReady = resolve;
      this.#rejectReady = reject;
    });
    // A rejection that no caller awaits must not end the process.
    this.ready.catch(() => {});
    const metrics = parts.measure(system, (source, error) =>
      logger.warn({ source, err: error }, "a source of metrics failed; /metrics is served without it"),
    );
    const observation = new NodeObservation(metrics, logger, onEvent);
    this.#life = nodeLife({
      system,
      directory,
      logger,
      observation,
      comparePast: async (other) => await this.#reporting.past.comparePast(other),
      differing: async (...of) => await this.#reporting.past.differing(...of),
      otherLooks: async () => await this.#reporting.otherLooks(),
      onOpened: (log) => this.#reporting.opened(log),
      propose: async (index, signal) => {
        const isReadOnly = this.#life.log?.backup !== undefined;
        const { policies: proposed } = system;
        await proposePolicies({ node: this.api, proposed, index, isReadOnly, logger }, signal);
      },
      onReady: () => {
        void this.#reporting.look();
        this.#resolveReady();
      },
      onHalt: (failure) => this.#rejectReady(failure),
      release: async (dir) => await this.#queries.release(dir),
    });
    this.#lag = new ReadyLag(this.#life, system.http?.readyMaxLagMs);
    this.#queries = new QueryProcesses(logger);
    this.#appends = new NodeAppends(this.#life, system.http?.maxBody ?? Number.POSITIVE_INFINITY);
    this.#reads = new NodeReads(this.#life, system, (timeoutMs) => this.#appends.barrier(timeoutMs));
    this.api = Object.assign(this, this.#reads, { submit: this.#appends.submit });
    const status = async (): Promise<NodeStatus> => await this.status();
    this.#reporting = new NodeReporting({
      system,
      directory,
      life: this.#life,
      logger,
      status,
      retryRefused: (quietMs) => this.#appends.retryRefused(quietMs),
      compareEveryMs,
      stall,
    });
  }

  async open(): Promise<void> {
    const { http } = this.#system;
    // A killed process may have left an unfinished rebuild behind.
    await this.#directory.sweep("rebuild");
    if (http !== undefined) {
      this.#http = await this.#serve(this.api, http, {
        logger: this.#logger,
        completeHint: (hint) =>
          completeCommands(hint, (command) =>
            // Only the client knows by which address it reaches the node.
            namedCommand(command)?.asksNode === true ? `cairn ${command}` : this.#system.commandLine(command),
          ),
        closeTimeoutMs: HTTP_STOP_MS,
        onFiles: (paths, problem) => this.#life.observation.noteFiles(paths, problem),
        onRefused: (problem) => this.#life.observation.noteRefused(problem),
        onCertificate: (certificate) => this.#life.observation.noteCertificate(certificate),
        onAnswered: (request) => this.#life.observation.metrics.onRequest(request),
      });
      this.#logger.info({ url: this.#http.url }, "listening");
    }
    this.#reporting.start();
    this.#life.start();
  }

  get url(): string | undefined {
    return this.#http?.url;
  }

  get phase(): Phase {
    return this.#life.reportedPhase;
  }

  readonly readiness: NodeApi["readiness"] = async () =>
    withCommands(await nodeReadiness(this.#life, this.#lag), this.#system.commandLine);

  async metrics(): Promise<string> {
    return await this.#life.observation.metrics.text({
      phase: this.phase,
      status: async () => await this.status(),
      // Scrapes read nothing from the checkpoint to which a joining node is attached.
      queues: async () =>
        this.#life.index?.isReadOnly === false ? (await this.#reads.queues({ stale: true })).queues : [],
    });
  }

  async status(): Promise<NodeStatus> {
    const resources = await this.#resources.current();
    const status = await nodeStatus(this.id, this.#life, this.#reporting.state, this.#system, resources);
    const findings = this.#dated(status.findings, isoTime(systemClock.now()));
    return withCommands({ ...status, findings }, this.#system.commandLine);
  }

  readonly cluster: NodeApi["cluster"] = ({ timeoutMs = LIMITS.defaultClusterWaitMs } = {}) =>
    this.#reporting.cluster(timeoutMs);

  async checkpoints(): Promise<readonly ListedCheckpoint[]> {
    if (this.#closing !== undefined) throw nodeClosed();
    const { checkpointer, kvProvider } = this.#system;
    const logId = this.#life.identity?.id;
    const { storeAhead } = this.#life.services?.checkpointer?.status() ?? {};
    const { checkpoints } = await listRetained({
      store: allStores(this.#system)[0] ?? requireStore(this.#system),
      // A node without a checkpointer removes nothing.
      own:
        checkpointer === undefined || logId === undefined
          ? undefined
          : { logId, policy: checkpointer.retentionPolicy, storeNow: systemClock.now() + (storeAhead ?? 0) },
      format: { index: INDEX_VERSION, kv: kvProvider.format },
    });
    return checkpoints.map(listedCheckpoint);
  }

  checkpoint(): { begun: Promise<void>; done: Promise<CheckpointResult> } {
    requireStore(this.#system);
    const checkpointer = this.#life.services?.checkpointer;
    if (checkpointer === undefined) throw notReady(this.#life);
    const { begun, done: ended } = checkpointer.checkpointNow();
    const done = ended.then(checkpointResult);
    // A caller may await only `begun`. The failure is in the status; its rejection must not end the process.
    done.catch(() => undefined);
    return { begun, done };
  }

  async verifyCheckpoint(name?: string): Promise<VerifiedSummary> {
    const store = requireStore(this.#system);
    const upkeep = this.#life.services?.upkeep;
    if (upkeep === undefined) throw notReady(this.#life);
    return await upkeep.verify(store, name);
  }

  client(options: Pick<ClientOptions, "readYourWrites"> = {}): CairnClient {
    const onDirector = (director: Director): void => {
      if (this.#closing !== undefined) {
        void director.stop();
        throw nodeClosed();
      }
      this.#directors.add(director);
      const forget = (): boolean => this.#directors.delete(director);
      director.done.then(forget, forget);
    };
    return new CairnClient({ ...options, access: new LocalAccess(this.api, onDirector) });
  }

  indexBuckets(name: string): readonly string[] | undefined {
    const configured = indexNamed(this.#system.ownIndexes, name).buckets;
    const { ownIndexes } = this.#life;
    return ownIndexes === undefined ? configured : ownIndexes.named(name).buckets;
  }

  readonly queryIndex: NodeApi["queryIndex"] = async (name, query, options = {}) => {
    indexNamed(this.#system.ownIndexes, name);
    const index = (): AskedIndex => {
      const { ownIndexes, phase } = this.#life;
      if (ownIndexes === undefined || phase !== "ready") throw notReady(this.#life);
      return ownIndexes.named(name);
    };
    return await queryIndex(index, this.#queries, name, query, options);
  };

  async close(): Promise<void> {
    this.#closing ??= this.#close();
    await this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Continues to serve for a while, so that load balancers stop using the node before it disappears. */
  async #drain(): Promise<void> {
    const { drainMs = 0 } = this.#system.http ?? {};
    if (drainMs === 0 || this.#http === undefined || this.#life.phase !== "ready") return;
    this.#life.drain();
    this.#http.drain();
    const draining = "the node is draining: it reports that it is not ready, but still responds to requests";
    this.#logger.info({ drainMs }, draining);
    await wait(drainMs);
  }

  async #close(): Promise<void> {
    await Promise.allSettled([...this.#directors].map((director) => director.stop()));
    await this.#drain();
    const closed = nodeClosed();
    this.#rejectReady(this.#life.failure ?? closed);
    // This must happen before the HTTP server closes, because closing waits for responses in progress, and the response
    // to a watch never ends by itself.
    this.#life.beginStop(closed);
    const queriesEnded = this.#queries.close(closed);
    // Transactions that were just submitted are usually indexed within moments. Longer waits are aborted.
    const cancel = startTimer(INDEX_WAIT_AT_STOP_MS, () => this.#life.position.fail(closed));
    await this.#http?.close();
    cancel();
    this.#life.position.fail(closed);
    await this.#reporting.close();
    await queriesEnded;
    try {
      await this.#life.stop();
    } finally {
      await this.#directory.release();
      await closeStores(this.#system);
    }
    this.#logger.info("stopped");
  }
}
