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
  type ReadOptions,
  readQuery,
  wholeNumber,
} from "../options/command-options.ts";
import { withNode } from "../options/node-address.ts";
import { readJsonInput } from "../terminal/input.ts";
import { UsageError } from "../terminal/report-error.ts";
import { writeJson, writeLine, tell } from "../terminal/terminal.ts";

const PATH = "/api/v1/policies";

/** `cairn policy show` and `cairn policy apply`. */
export const addPolicy: AddCommand = (parent, terminal) => {
  const group = addGroup(parent, "policy", "Show and set the policies of the log");

  describeReadCommand(group.command("show"), "Print the policies in force", [
    "cairn policy show > policies.json",
  ]).action(async (options: ReadOptions) => {
    const present = (await withNode(terminal, options, (node) =>
      node.json({ path: PATH, query: readQuery(options) }),
    )) as PolicyState & {
      file: string | null;
    };
    if (options.json === true) return writeJson(terminal.stdout, present);
    await writeLine(terminal.stdout, JSON.stringify(present.policies, undefined, 2));
    const { revision, file } = present;
    await tell(terminal, revision === null ? "None were set." : `Set by transaction ${revision}.`);
    if (file !== "different") return;
    await tell(terminal, "cairn/policies of the node's configuration differs; it is not followed.");
  });

  describeNodeCommand(
    group.command("apply <file>"),
    "Set the policies (a JSON file, or - for standard input), unless somebody else sets them meanwhile",
    ["cairn policy apply policies.json", "cairn policy apply policies.json --if-revision 17"],
  )
    .option("--if-revision <revision>", "only if they are at this revision", wholeNumber("--if-revision", 1))
    .action(async (file: string, options: NodeOptions & { ifRevision?: number }) => {
      const body = await readJsonInput(file, terminal);
      checkPolicies(file === "-" ? "standard input" : file, body);
      await withNode(terminal, options, async (node) => {
        const present = (await node.json({ path: PATH })) as PolicyState;
        const revision = options.ifRevision ?? present.revision;
        const isSame = isDeepStrictEqual(present.policies, JSON.parse(body));
        if (isSame && present.revision !== null && revision === present.revision) {
          if (options.json === true) return writeJson(terminal.stdout, { txId: null, unchanged: true });
          return writeLine(terminal.stdout, `unchanged since transaction ${present.revision}`);
        }
        const headers: Record<string, string> =
          revision === null ? { "if-none-match": "*" } : { "if-match": `"${revision}"` };
        const answer = (await node.json({ method: "PUT", path: PATH, body, headers })) as { txId: number };
        if (options.json === true) return writeJson(terminal.stdout, { ...answer, unchanged: false });
        return writeLine(terminal.stdout, `set by transaction ${answer.txId}`);
      });
    });
};

/** Told here as well, so that a file can be mended without a node. */
function checkPolicies(file: string, json: string): void {
  const problems = [...repeatedKeys(json, file), ...policyProblems(JSON.parse(json))];
  if (problems.length === 0) return;
  const mistakes = problems.length === 1 ? "a mistake" : `${problems.length} mistakes`;
  throw new UsageError(
    `The policies in ${file} have ${mistakes}; nothing was set.`,
    "docs/policies.md describes policies.",
    problems,
  );
}
