import { createHash } from "node:crypto";
import type { S3Request, S3RequestKind } from "./s3-request.ts";

/** What may go wrong with one request. */
export type S3Fault =
  /** Answered in the service's place, which never hears of the request. */
  | "500"
  | "503"
  | "409"
  | "412"
  /** The connection is reset when half of the request's body has come. */
  | "reset while sending"
  /** The service obeys; then the connection is reset instead of an answer. */
  | "answer lost"
  /** The service obeys; then nothing comes any more. */
  | "no answer"
  /** The response's body: reset after half of it; half of it despite its stated length; in drops; half of it and then silence. */
  | "reset while receiving"
  | "short body"
  | "slow body"
  | "silence"
  /** A 200 whose body is an error document; the service never hears of the request. */
  | "error in 200";

/** Decides what happens to a request. */
export type FaultPlan = (request: S3Request) => S3Fault | undefined;

const ANY: readonly S3Fault[] = ["500", "503", "answer lost", "no answer"];
const WITH_BODY_SENT: readonly S3Fault[] = [...ANY, "reset while sending"];
const WITH_BODY_RECEIVED: readonly S3Fault[] = [
  ...ANY,
  "reset while receiving",
  "short body",
  "slow body",
  "silence",
];

/** What can happen to requests of a kind. */
export const FAULTS_OF: Readonly<Record<S3RequestKind, readonly S3Fault[]>> = {
  list: WITH_BODY_RECEIVED,
  "list uploads": WITH_BODY_RECEIVED,
  "list parts": ANY,
  head: ANY,
  get: WITH_BODY_RECEIVED,
  put: [...WITH_BODY_SENT, "409", "412"],
  delete: ANY,
  begin: ANY,
  part: WITH_BODY_SENT,
  complete: [...ANY, "409", "412", "error in 200"],
  abort: ANY,
  other: [],
};

/** A 409 or a 412 is the response to a condition; without one no service sends it. */
function isPossible(fault: S3Fault, { onlyIfAbsent, onlyIfTag }: S3Request): boolean {
  return (fault !== "409" && fault !== "412") || onlyIfAbsent || onlyIfTag !== undefined;
}

/**
 * Faults at about `rate` of all requests. Which ones depends on the seed, on what a request asks for and on how often that was asked
 * before, and not on the order of requests that are under way together.
 */
export function seededFaults(seed: number, rate: number): FaultPlan {
  const asked = new Map<string, number>();
  return (request) => {
    const what = `${request.kind} ${nameless(request.key)} ${nameless(request.detail)}`;
    const time = asked.get(what) ?? 0;
    asked.set(what, time + 1);
    const draw = createHash("sha256").update(`${seed} ${time} ${what}`).digest();
    if (draw.readUInt32LE(0) / 2 ** 32 >= rate) return undefined;
    const possible = FAULTS_OF[request.kind].filter((fault) => isPossible(fault, request));
    return possible[draw.readUInt32LE(4) % possible.length];
  };
}

/** Names of checkpoints, reservations and probes are new in every run. */
function nameless(text: string): string {
  return text.replaceAll(/\d{4}-\d\d-\d\dT[\d.-]+Z|[0-9a-f]{8,}/g, "*");
}
