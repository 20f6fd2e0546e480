import { expect, it } from "vitest";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";
import { serve, type ServedNode } from "@cairn/test-support/nodes/served-node";

function run(served: ServedNode, ...argv: string[]) {
  return cairn(["sql", ...argv, "--url", served.url], new CapturedTerminal({}));
}

it("sql prints the rows of a query, and says if there are more", async () => {
  await using served = await serve();
  served.node.queryIndex = () =>
    Promise.resolve({
      txId: 7,
      columns: ["owner", "total", "more"],
      rows: ['["anna",350,null],["ben",1.5,{"a":[1]}]'],
      more: true,
    });
  expect(await run(served, "pods", "select")).toMatchObject({
    code: 0,
    stdout: 'owner  total  more\nanna     350  null\nben      1.5  {"a":[1]}\n',
    stderr: "There are more than 2 rows.\n",
  });
});

it("sql sends its arguments as JSON, or as texts", async () => {
  await using served = await serve();
  const { stdout } = await run(
    served,
    "pods",
    "select ?",
    "--arg",
    "5",
    "--arg",
    "a b",
    "--arg",
    '"5"',
    "--json",
  );
  expect(JSON.parse(stdout)).toEqual({
    txId: 1,
    columns: ["name", "text", "args"],
    rows: [["pods", "select ?", [5, "a b", "5"]]],
    more: false,
  });
});

it("sql prints why a query was refused", async () => {
  await using served = await serve();
  expect(await run(served, "none", "select")).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^NOT_FOUND: There is no index none/) as string,
  });
  const limited = await run(served, "pods", "select", "--limit", "10001");
  expect(limited).toMatchObject({ code: 2, stderr: expect.stringMatching(/^REQUEST_INVALID/) as string });
});
