import { isDeepStrictEqual } from "node:util";
import type { FlipOracle } from "./flip-oracle.ts";
import type { Answer, Answers, Question } from "./question.ts";

/**
 * Classifies a wrong response that can be explained by a row that is hidden from LevelDB: `absent` if something is only
 * missing, `older` if an earlier row of the same key became visible. Returns undefined if a hidden row cannot be the
 * reason, in which case the response is wrong.
 */
export function hiddenRow(
  oracle: FlipOracle,
  question: Question,
  wanted: Answer,
  found: Answer,
): "absent" | "older" | undefined {
  switch (question.ask) {
    case "get": {
      const got = found as Answers["get"];
      if (got === null) return "absent";
      const { bucket, key } = question;
      return oracle.everHad(bucket, key, got.revision, got.document) ? "older" : undefined;
    }
    case "list": {
      const isOld = ([key, revision, document]: Answers["list"][number]): boolean =>
        oracle.everHad(question.bucket, key, revision, document);
      return among(found as Answers["list"], wanted as Answers["list"], isOld);
    }
    case "history": {
      const { bucket, key } = question;
      const isOld = ([revision, ...document]: Answers["history"][number]): boolean =>
        document.length === 0 || oracle.everHad(bucket, key, revision, document[0]);
      return among(found as Answers["history"], wanted as Answers["history"], isOld);
    }
    case "events": {
      const isOld = ([txId, , object, reason]: Answers["events"][number]): boolean =>
        oracle.everTold(`${txId} ${object} ${reason}`);
      return among(found as Answers["events"], wanted as Answers["events"], isOld);
    }
    case "evictions":
      return among(found as readonly string[], wanted as readonly string[], () => false);
    case "changes":
      return among(found as readonly string[], wanted as readonly string[], (text) => oracle.everTold(text));
    case "outcome":
      return found === null ? "absent" : undefined;
    case "buckets":
    case "digest":
      // These values are sums over rows, one of which is hidden.
      return "older";
  }
}

/**
 * Returns `absent` if `found` merely lacks something, and `older` if it contains something that was once true, or
 * contains something twice.
 */
function among<T>(
  found: readonly T[],
  wanted: readonly T[],
  isOld: (one: T) => boolean,
): "absent" | "older" | undefined {
  const others = found.filter((one) => !wanted.some((right) => isDeepStrictEqual(one, right)));
  const isTwice = new Set(found.map((one) => JSON.stringify(one))).size < found.length;
  if (others.length === 0 && !isTwice) return found.length < wanted.length ? "absent" : undefined;
  return others.every(isOld) ? "older" : undefined;
}
