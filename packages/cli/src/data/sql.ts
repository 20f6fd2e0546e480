import type { ClientRows, Json } from "@cairn/client";
import { LIMITS } from "@cairn/client/protocol";
import { formatCount } from "@cairn/text";
import { command } from "../options/command.ts";
import { askNode, NODE_OPTIONS } from "../options/node-address.ts";
import { countValue, repeatedValue } from "../options/option-specs.ts";
import { type Column, shorten } from "../terminal/columns.ts";

export const addSql = command({
  syntax: "sql <index> <statement>",
  description: "Query an index of the node's own",
  examples: [
    "cairn sql orders 'select owner, sum(total) from orders group by owner'",
    "cairn sql orders 'select * from orders where owner = ? and total > ?' --arg anna --arg 100 --json",
  ],
  options: {
    ...NODE_OPTIONS,
    arg: repeatedValue(
      "<value>",
      "the value of the next parameter, as JSON or, if it is not JSON, as a text; may be repeated",
    ),
    minTx: countValue("<tx>", "wait until the index contains this transaction"),
    limit: countValue(
      "<count>",
      `print at most this many rows (default and maximum: ${formatCount(LIMITS.queryRows)})`,
    ),
  },
  async act(run, index, sql) {
    const { arg = [], minTx, limit } = run.options;
    const found = await askNode<ClientRows>(run, {
      method: "POST",
      path: `/api/v1/sql/${encodeURIComponent(index)}`,
      query: { "min-tx": minTx },
      body: JSON.stringify({ sql, args: arg.map(valueOf), limit }),
    });
    const { columns, rows, more } = found;
    const shown = columns.map((name, at): Column<readonly Json[]> => {
      const isNumeric = rows.every((row) => typeof row[at] === "number");
      return [name, (row) => cellOf(row[at]), isNumeric ? "right" : undefined];
    });
    await run.answer(found, run.table(shown, rows));
    if (more && !run.json) await run.tell(`There are more than ${formatCount(rows.length)} rows.`);
  },
});

function valueOf(given: string): Json {
  try {
    return JSON.parse(given) as Json;
  } catch {
    return given;
  }
}

function cellOf(value: Json = null): string {
  return shorten(typeof value === "string" ? value : JSON.stringify(value));
}
