import { isDeepStrictEqual } from "node:util";
import type { Logger } from "pino";
import { CairnError, Deadline, isCairnError, unlessAborted, wait } from "@cairn/kv";
import type { Policies } from "@cairn/client";
import { reasonWords } from "@cairn/client/protocol";
import type { NodeApi } from "../api/node-api.ts";
import type { IndexStore } from "../index/index-store.ts";
import { asCairnError, logFailure } from "../observe/failures.ts";
import { retryDelayMs } from "./failure-policy.ts";

/** How long a node waits for the outcome of a proposal before it is ready without it (ms). */
const OUTCOME_MS = 5_000;

interface ProposalParts {
  readonly node: Pick<NodeApi, "submit" | "await">;
  readonly proposed: Policies | undefined;
  /** The index, which has caught up with the log. */
  readonly index: Pick<IndexStore, "state">;
  readonly isReadOnly: boolean;
  readonly logger: Logger;
}

/**
 * Submits the policies of the configuration if the log has none and accepts transactions; one of several nodes wins.
 * Returns once the index contains the outcome. If the log does not take or answer the proposal in time, returns as well,
 * because the node can serve reads, and repeats it until `signal` is aborted.
 */
export async function proposePolicies(parts: ProposalParts, signal: AbortSignal): Promise<void> {
  if (await isDecided(parts, "warn", signal)) return;
  void repeat(parts, signal);
}

async function repeat(parts: ProposalParts, signal: AbortSignal): Promise<void> {
  for (let failures = 1; await wait(retryDelayMs(failures), signal); failures += 1)
    if (await isDecided(parts, "debug", signal)) return;
}

/** Proposes policies unless the log has some. Returns whether nothing is left to do. Logs a failure at `level`. */
async function isDecided(parts: ProposalParts, level: "debug" | "warn", signal: AbortSignal) {
  const { proposed, index, isReadOnly, logger } = parts;
  if (proposed === undefined) return true;
  try {
    if (index.state.policies !== undefined) noteDifference(parts);
    else if (isReadOnly) logger.info(READ_ONLY);
    else await unlessAborted(propose(parts, proposed), signal);
    return true;
  } catch (error) {
    // If the node is not ready to submit, it is about to stop or to leave its index.
    if (signal.aborted || isCairnError(error, "NOT_READY")) return signal.aborted;
    const { code, message, hint, cause } = asCairnError(error);
    // The hint of this error is for those who would have to send the transaction again.
    const ownHint = code === "TX_TIMEOUT" ? "cairn status shows whether the log responds." : hint;
    logFailure(logger, level, new CairnError(code, message, { hint: ownHint, cause }), AGAIN);
    return false;
  }
}

async function propose(parts: ProposalParts, proposed: Policies): Promise<void> {
  const { node, index, logger } = parts;
  const limit = new Deadline(OUTCOME_MS);
  const submitted = await node.submit({ ops: [["configure", proposed, null]] }, { timeoutMs: limit.leftMs });
  const { txId, committed, reason } = await node.await(submitted, { timeoutMs: limit.leftMs });
  if (committed) logger.info({ txId }, "the log had no policies, so those of the configuration were set");
  else if (index.state.policies !== undefined) noteDifference(parts);
  else logger.warn({ txId, hint: CORRECT }, `${REFUSED}: ${reasonWords(reason)}`);
}

function noteDifference({ proposed, index: { state }, logger }: ProposalParts): void {
  const { policies } = state;
  if (!isDeepStrictEqual(policies?.value, proposed)) logger.warn({ revision: policies?.revision }, DIFFERENT);
}

const READ_ONLY =
  "the log has no policies, but this node only reads the log, so it does not propose those of its configuration";
const DIFFERENT =
  "cairn/policies in the configuration differs from the policies of the log, which take precedence";
const AGAIN = "The policies of the configuration are not set; the node will try again.";
const REFUSED = "the policies of the configuration were refused, so the log has none";
const CORRECT =
  "Correct cairn/policies in the configuration and restart the node, or set policies with cairn policy apply.";
