import { createHash } from "node:crypto";
import type { S3Request, S3RequestKind } from "./s3-request.ts";

/** A fault of one request. */
export type S3Fault =
  /** The response is sent in place of the service, which never receives the request. */
  | "500"
  | "503"
  | "409"
  | "412"
  /** The connection is reset once half of the request's body has arrived. */
  | "reset while sending"
  /** The service executes the request, and the connection is reset in place of a response. */
  | "answer lost"
  /** The service executes the request, and no response is sent. */
  | "no answer"
  /**
   * The body of the response: the connection is reset after half of it; only half of it is sent despite its stated
   * length; it is sent in small drops; or half of it is followed by silence.
   */
  | "reset while receiving"
  | "short body"
  | "slow body"
  | "silence"
  /** A 200 whose body is an error document. The service never receives the request. */
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

/** The faults that are possible for each kind of request. */
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

/** Returns whether a fault is possible: no service sends a 409 or a 412 for a request without a condition. */
function isPossible(fault: S3Fault, { onlyIfAbsent, onlyIfTag }: S3Request): boolean {
  return (fault !== "409" && fault !== "412") || onlyIfAbsent || onlyIfTag !== undefined;
}

/**
 * Returns faults at about `rate` of all requests. Which requests are affected depends on the seed, on the request, and
 * on how often it was sent before, but not on the order of concurrent requests.
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

/** Replaces names of checkpoints, reservations and probes, which are new in every run. */
function nameless(text: string): string {
  return text.replaceAll(/\d{4}-\d\d-\d\dT[\d.-]+Z|[0-9a-f]{8,}/g, "*");
}
