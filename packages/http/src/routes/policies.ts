import type { Policies, TxOperation } from "@cairn/client";
import { refusalHint } from "@cairn/client/protocol";
import { invalidPolicies } from "@cairn/engine";
import { repeatedKeys } from "@cairn/text";
import { jsonAnswer } from "../answers/answer.ts";
import {
  found,
  jsonOf,
  PRECONDITIONS,
  READ_ERRORS,
  type Route,
  route,
  SUBMIT_ERRORS,
  written,
} from "../openapi/route.ts";
import { READ_PARAMETERS, WRITE_PARAMETERS } from "../requests/parameters.ts";
import { etag, lostBecause, requiredRevision } from "../requests/preconditions.ts";
import { ref } from "../requests/schema-parts.ts";
import { submit } from "./await-tx.ts";

const POLICIES = {
  path: "/api/v1/policies",
  concerns: "all",
  tag: "policies",
} as const;

export const policyRoutes: readonly Route[] = [
  route({
    ...POLICIES,
    method: "GET",
    right: "observe",
    id: "getPolicies",
    summary: "Return the policies in force.",
    query: READ_PARAMETERS,
    answers: found("The policies.", ref("PolicyState"), ["Cairn-Tx", "ETag"]),
    errors: READ_ERRORS,
    async handle({ api, query }) {
      const { txId, ...policies } = await api.policies(query);
      const { revision } = policies;
      return jsonAnswer(policies, {
        ...(revision === null ? {} : { etag: etag(revision) }),
        "cairn-tx": txId,
      });
    },
  }),
  route({
    ...POLICIES,
    method: "PUT",
    right: "operate",
    id: "putPolicies",
    summary: "Set the policies.",
    query: WRITE_PARAMETERS,
    requestHeaders: PRECONDITIONS,
    body: jsonOf(ref("Policies")),
    onBody(json) {
      const problems = repeatedKeys(json, "body");
      if (problems.length > 0) throw invalidPolicies(problems);
    },
    answers: written(ref("Submitted"), ["Cairn-Tx", "ETag"]),
    errors: [...SUBMIT_ERRORS, "CONFLICT", ["CONFLICT", 412]],
    async handle(call) {
      const policies = call.body as Policies;
      const required = requiredRevision(call.request);
      const operation: TxOperation =
        required === undefined ? ["configure", policies] : ["configure", policies, required];
      const { txId, result } = await submit(call, { ops: [operation] });
      if (result === undefined) return jsonAnswer({ txId }, {}, 202);
      const { committed, reason = "" } = result.outcome;
      if (!committed) throw lostBecause(reason, refusalHint("configure", reason));
      return jsonAnswer({ txId }, { etag: etag(txId), "cairn-tx": txId });
    },
  }),
];
