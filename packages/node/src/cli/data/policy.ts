import { isDeepStrictEqual } from "node:util";
import type { PolicyState } from "@cairn/client";
import { policyProblems } from "../../policies/policy-problems.ts";
import { repeatedKeys } from "../../config/source/repeated-keys.ts";
import {
  type AddCommand,
  addGroup,
  describeNodeCommand,
  describeReadCommand,
  type NodeOptions,
  type ReadCommandOptions,
  readQuery,
  wholeNumber,
} from "../options/command-options.ts";
import { withNode } from "../options/node-address.ts";
import { readJsonInput } from "../terminal/input.ts";
import { UsageError } from "../terminal/report-error.ts";
import { writeJson, writeLine, tell } from "../terminal/terminal.ts";

const PATH = "/api/v1/policies";

export const addPolicy: AddCommand = (parent, terminal) => {
  const group = addGroup(parent, "policy", "Show and set the policies of the log");

  describeReadCommand(group.command("show"), "Print the policies in force", [
    "cairn policy show > policies.json",
  ]).action(async (options: ReadCommandOptions) => {
    const current = (await withNode(terminal, options, (node) =>
      node.json({ path: PATH, query: readQuery(options) }),
    )) as PolicyState & {
      file: string | null;
    };
    if (options.json === true) return writeJson(terminal.stdout, current);
    await writeLine(terminal.stdout, JSON.stringify(current.policies, undefined, 2));
    const { revision, file } = current;
    await tell(terminal, revision === null ? "No policies were set." : `Set by transaction ${revision}.`);
    if (file !== "different") return;
    await tell(terminal, "cairn/policies in the node's configuration differs from these and is ignored.");
  });

  describeNodeCommand(
    group.command("apply <file>"),
    "Set the policies from a JSON file (- for standard input), unless another client changes them at the same time",
    ["cairn policy apply policies.json", "cairn policy apply policies.json --if-revision 17"],
  )
    .option(
      "--if-revision <revision>",
      "set the policies only if they are at this revision",
      wholeNumber("--if-revision", 1),
    )
    .action(async (file: string, options: NodeOptions & { ifRevision?: number }) => {
      const body = await readJsonInput(file, terminal);
      checkPolicies(file === "-" ? "standard input" : file, body);
      await withNode(terminal, options, async (node) => {
        const current = (await node.json({ path: PATH })) as PolicyState;
        const revision = options.ifRevision ?? current.revision;
        const areSame = isDeepStrictEqual(current.policies, JSON.parse(body));
        if (areSame && current.revision !== null && revision === current.revision) {
          if (options.json === true) return writeJson(terminal.stdout, { txId: null, unchanged: true });
          return writeLine(terminal.stdout, `unchanged since transaction ${current.revision}`);
        }
        const headers: Record<string, string> =
          revision === null ? { "if-none-match": "*" } : { "if-match": `"${revision}"` };
        const answer = (await node.json({ method: "PUT", path: PATH, body, headers })) as { txId: number };
        if (options.json === true) return writeJson(terminal.stdout, { ...answer, unchanged: false });
        return writeLine(terminal.stdout, `set by transaction ${answer.txId}`);
      });
    });
};

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
