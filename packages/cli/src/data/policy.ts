import { isDeepStrictEqual } from "node:util";
import type { PolicyState } from "@cairn/client";
import { policyProblems } from "@cairn/engine";
import { repeatedKeys } from "@cairn/text";
import { command, commandGroup } from "../options/command.ts";
import { NODE_OPTIONS, openNode, READ_OPTIONS, readNode } from "../options/node-address.ts";
import { countValue } from "../options/option-specs.ts";
import { readJsonInput } from "../terminal/input.ts";
import { UsageError } from "../terminal/report-error.ts";

const PATH = "/api/v1/policies";

const addShow = command({
  syntax: "show",
  description: "Print the policies in force",
  examples: ["cairn policy show > policies.json"],
  options: READ_OPTIONS,
  async act(run) {
    const current = await readNode<PolicyState & { file: string | null }>(run, PATH);
    await run.answer(current, JSON.stringify(current.policies, undefined, 2));
    if (run.json) return;
    const { revision, file } = current;
    await run.tell(revision === null ? "No policies were set." : `Set by transaction ${revision}.`);
    if (file === "different")
      await run.tell("cairn/policies in the node's configuration differs from these and is ignored.");
  },
});

const addApply = command({
  syntax: "apply <file>",
  description:
    "Set the policies from a JSON file (- for standard input), unless another client changes them at the same time",
  examples: ["cairn policy apply policies.json", "cairn policy apply policies.json --if-revision 17"],
  options: {
    ...NODE_OPTIONS,
    ifRevision: countValue("<revision>", "set the policies only if they are at this revision"),
  },
  async act(run, file) {
    const body = await readJsonInput(file, run.terminal);
    checkPolicies(file === "-" ? "standard input" : file, body);
    const node = await openNode(run);
    const current = await node.json<PolicyState>({ path: PATH });
    const revision = run.options.ifRevision ?? current.revision;
    const areSame = isDeepStrictEqual(current.policies, JSON.parse(body));
    if (areSame && current.revision !== null && revision === current.revision) {
      const unchanged = `unchanged since transaction ${current.revision}`;
      return await run.answer({ txId: null, unchanged: true }, unchanged);
    }
    const headers: Record<string, string> =
      revision === null ? { "if-none-match": "*" } : { "if-match": `"${revision}"` };
    const answer = await node.json<{ txId: number }>({ method: "PUT", path: PATH, body, headers });
    return await run.answer({ ...answer, unchanged: false }, `set by transaction ${answer.txId}`);
  },
});

export const addPolicy = commandGroup("policy", "Show and set the policies of the log", [addShow, addApply]);

/** Checks the policies before a node does, so that a file can be corrected without a node. */
function checkPolicies(file: string, json: string): void {
  const problems = [...repeatedKeys(json, file), ...policyProblems(JSON.parse(json))];
  if (problems.length === 0) return;
  const mistakes = problems.length === 1 ? "a mistake" : `${problems.length} mistakes`;
  throw new UsageError(
    `The policies in ${file} contain ${mistakes}, so nothing was set.`,
    "Correct the file. docs/policies.md describes policies.",
    problems,
  );
}
