import { pbkdf2 } from "node:crypto";
import { promisify } from "node:util";
import type { Position } from "@cairn/node";
import type { ExecutionStore, SeenExecution } from "./execution-store.ts";
import type { Execution } from "./executions.ts";

/** Options for {@link runExecutions}. */
export interface ComputeOptions {
  /** The number of concurrent executions. */
  readonly slots: number;
  readonly signal: AbortSignal;
}

const KEY_BYTES = 32;
const derive = promisify(pbkdf2);

/** Fails the executions that were running when this compute node last ended. Returns their number. */
export async function failAbandoned(store: ExecutionStore): Promise<number> {
  const error = "The compute node ended while it ran.";
  let failed = 0;
  for await (const { found } of store.inState("running")) {
    await Promise.all(found.map((one) => store.replace(one, { ...one.execution, state: "failed", error })));
    failed += found.length;
  }
  return failed;
}

/** Runs the waiting executions and then every new one, until `signal` is aborted. */
export async function runExecutions(store: ExecutionStore, { slots, signal }: ComputeOptions): Promise<void> {
  // All slots share one source and take from it only when they are free, so that waiting executions stay in the store.
  const source = createdExecutions(store, signal);
  const slot = async (): Promise<void> => {
    for (let next = await source.next(); next.done !== true; next = await source.next()) {
      await runOne(store, next.value);
    }
  };
  await Promise.all(Array.from({ length: slots }, slot));
}

/** Yields executions in the state `created`: lists them, and then follows the watch. */
async function* createdExecutions(
  store: ExecutionStore,
  signal: AbortSignal,
): AsyncGenerator<SeenExecution, void, void> {
  let from: Position | undefined;
  for await (const { position, found } of store.inState("created")) {
    from = position;
    for (const created of found) {
      if (signal.aborted) return;
      yield created;
    }
  }
  // An execution that is found twice runs once, because it is claimed at the revision at which it was seen.
  yield* store.createdAfter(from ?? "0", signal);
}

async function runOne(store: ExecutionStore, created: SeenExecution): Promise<void> {
  const claimed = await store.replace(created, { ...created.execution, state: "running" });
  if (claimed !== undefined) await store.replace(claimed, await execute(claimed.execution));
}

async function execute(execution: Execution): Promise<Execution> {
  const { password, rounds } = execution;
  try {
    const key = await derive(password, "cairn", rounds, KEY_BYTES, "sha256");
    return { ...execution, state: "completed", output: key.toString("hex") };
  } catch (error) {
    // An error fails the execution, not the compute node.
    return { ...execution, state: "failed", error: error instanceof Error ? error.message : String(error) };
  }
}
