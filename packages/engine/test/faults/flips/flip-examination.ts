import { setTimeout as delay } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { FlipOracle } from "./flip-oracle.ts";
import { Ended, type Health, PATIENCE_MS, Refused, type Subject } from "./flip-subject.ts";
import { hiddenRow } from "./hidden-rows.ts";
import type { Answer, Question } from "./question.ts";

const POLL_MS = 5;

/**
 * The error codes that a node may return instead of a response. It is then queried again once it is ready. Any other
 * code is a violation.
 */
const REFUSALS = new Set([
  "NOT_READY",
  "INDEX_CORRUPT",
  "INDEX_VERSION",
  "TX_TIMEOUT",
  "LOG_GAP",
  "LOG_UNREACHABLE",
  "LOG_REGRESSED",
  "LOG_DIFFERENT",
  "WATCH_COMPACTED",
]);

/** The result of an examination. */
export interface Verdict {
  /** `right`: every response in one pass was correct. `halted`: the node stopped itself. */
  readonly end: "right" | "halted";
  readonly failure: NonNullable<Health["failure"]> | undefined;
  readonly refusals: number;
  /** The number of responses with hidden rows. */
  readonly absent: number;
  readonly older: number;
}

/**
 * Whether rows may be hidden: `never`, or `until-scrubbed` if a table was changed under the running node. Its scrub
 * must find such a change. Until then, LevelDB may miss a row, or return an older one instead (docs/failures.md).
 */
export type Tolerance = "never" | "until-scrubbed";

/**
 * Sends every query to a node until all responses are correct, or the node has halted. Throws if a response is wrong.
 */
export async function examine(
  subject: Subject,
  oracle: FlipOracle,
  tolerance: Tolerance,
  below: (limit: number) => number,
): Promise<Verdict> {
  let [refusals, absent, older] = [0, 0, 0];
  const deadline = performance.now() + PATIENCE_MS;
  do {
    const failure = await settled(subject);
    if (failure !== undefined) return { end: "halted", failure, refusals, absent, older };
    let isRight = true;
    for (const question of oracle.questions(below)) {
      const found = await answerOf(subject, question);
      if (found instanceof Refused) {
        // A missing history is treated as one that a policy removed.
        if (found.code === "WATCH_COMPACTED") {
          if (tolerance === "never") throw found;
          isRight = false;
          absent += 1;
          continue;
        }
        refusals += 1;
        isRight = false;
        break;
      }
      const wanted = oracle.answer(question);
      if (isDeepStrictEqual(found, wanted)) continue;
      const hidden = hiddenRow(oracle, question, wanted, found);
      if (hidden === undefined || tolerance === "never") throw wrongAnswer(question, wanted, found);
      isRight = false;
      if (hidden === "absent") absent += 1;
      else older += 1;
    }
    if (isRight) return { end: "right", failure: undefined, refusals, absent, older };
  } while (performance.now() < deadline);
  throw new Error(`The node does not become right: ${refusals} refusals, ${absent} absent, ${older} older.`);
}

/**
 * Waits until a node is ready or has stopped itself. Returns undefined if it is ready, and otherwise the reason, which
 * must include advice.
 */
export async function settled(subject: Subject): Promise<NonNullable<Health["failure"]> | undefined> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const health = await subject.health();
    if (health.phase === "ready") return undefined;
    if (health.phase === "failed" && health.failure !== null) {
      if (health.failure.hint === null || health.failure.code === "INTERNAL")
        throw new Error(`The node halted without saying what to do: ${JSON.stringify(health.failure)}`);
      return health.failure;
    }
    if (performance.now() > deadline) throw new Error(`The node hangs: ${JSON.stringify(health)}`);
    await delay(POLL_MS);
  }
}

async function answerOf(subject: Subject, question: Question): Promise<Answer | Refused> {
  try {
    return await subject.ask(question);
  } catch (error) {
    if (error instanceof Refused && REFUSALS.has(error.code)) return error;
    if (error instanceof Ended) throw error;
    throw new Error(`No answer to ${JSON.stringify(question)}`, { cause: error });
  }
}

function wrongAnswer(question: Question, wanted: Answer, found: Answer): Error {
  const [right, wrong] = [wanted, found].map((answer) => JSON.stringify(answer));
  const at = [...(right ?? "")].findIndex((char, index) => char !== wrong?.[index]);
  const around = (text = ""): string => text.slice(Math.max(0, at - 60), at + 100);
  return new Error(`${JSON.stringify(question)} was answered …${around(wrong)}… and not …${around(right)}…`);
}
