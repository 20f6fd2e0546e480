import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CLEAR, complete, put } from "../../../testing/own-index-batches.ts";
import { ask, sqliteScene } from "./sqlite-scene.ts";

describe("a query of an index in SQLite", () => {
  const scene = sqliteScene();

  async function withOrders(): Promise<void> {
    const index = await scene.open();
    await index.apply(
      complete(
        "1-a",
        CLEAR,
        put("orders/default/a", { owner: "ann" }),
        put("orders/default/b", { owner: "bob" }),
      ),
    );
  }

  it.each([
    "select name from orders",
    "  -- by name\n/* all */ SELECT name from orders; -- the end",
    "with all_orders as (select * from orders) select name from all_orders",
    "select name from orders where owner <> ';' and owner <> 'attach'",
  ])("reads %s", async (text) => {
    await withOrders();
    expect(await scene.query(text)).toEqual([["a"], ["b"]]);
  });

  it.each([
    "attach 'other.sqlite' as other",
    "/* select */ attach 'other.sqlite' as other",
    "-- select\nattach 'other.sqlite' as other",
    "pragma query_only = off",
    "vacuum into 'copy.sqlite'",
    "detach main",
    "begin",
    "commit",
    "delete from orders",
    "with one as (select 1) delete from orders",
    "explain select 1; delete from orders",
    "select 1; select 2",
    "select load_extension('x')",
    "select 1 /* ; */; attach 'other.sqlite' as other",
    "",
  ])("refuses %s", async (text) => {
    await withOrders();
    await expect(scene.query(text)).rejects.toMatchObject({ code: "REQUEST_INVALID", hint: /./ });
  });

  it("takes the values of parameters in their order, or by their names", async () => {
    await withOrders();
    expect(await scene.query("select ?, ?, ?, ?", [1.5, true, null, { a: [1] }])).toEqual([
      [1.5, 1, null, '{"a":[1]}'],
    ]);
    expect(await scene.query("select name from orders where owner = :owner", { owner: "bob" })).toEqual([
      ["b"],
    ]);
    expect(await scene.query("select value from json_each(?)", [[3, "x"]])).toEqual([[3], ["x"]]);
    for (const args of [{ other: 1 }, [1, 2]]) {
      await expect(scene.query("select :owner", args)).rejects.toMatchObject({ code: "REQUEST_INVALID" });
    }
  });

  it("computes with whole numbers as SQL does, and returns each result exactly", async () => {
    await withOrders();
    const text = "select 7 / ?, 9007199254740991, 9007199254740992, 1e999, x'00ff', 1 as a, 2 as a";
    expect(await scene.query(text, [2])).toEqual([
      [3, 9007199254740991, "9007199254740992", "Infinity", "AP8=", 1, 2],
    ]);
    const answer = await ask(await scene.reader(), "select 1 as a, 2 as a");
    expect(answer.columns).toEqual(["a", "a"]);
  });

  it("names the tables and columns that there are, if the query names another", async () => {
    await withOrders();
    const hint =
      "The tables are: orders (namespace, name, revision, tx_time, owner, total, title, document); orders_text (namespace, name, title, owner).";
    for (const text of ["select * from customers", "select customer from orders"]) {
      await expect(scene.query(text)).rejects.toMatchObject({ code: "REQUEST_INVALID", hint });
    }
  });

  it("reports an error that occurs while rows are read", async () => {
    await withOrders();
    const text = "select case name when 'b' then json('{') else 1 end from orders order by name";
    await expect(scene.query(text)).rejects.toMatchObject({
      code: "REQUEST_INVALID",
      message: /malformed JSON/,
    });
  });

  it("answers as of its position, also if changes arrive while its rows are read", async () => {
    const index = await scene.open();
    const documents = Array.from({ length: 3_000 }, (_, n) => put(`orders/default/${n}`, { owner: "ann" }));
    await index.apply(complete("1-a", CLEAR, ...documents));
    const reader = await scene.reader();
    const answer = await ask(reader, "select owner from orders");
    const rows = answer.rows[Symbol.iterator]();
    const owners = new Set([rows.next().value?.[0]]);
    await index.apply(complete("2-a", ...documents.map((one) => ({ ...one, json: '{"owner":"bob"}' }))));
    for (let next = rows.next(); next.done !== true; next = rows.next()) owners.add(next.value[0]);
    expect(answer.position).toBe("1-a");
    expect([...owners]).toEqual(["ann"]);
    expect(await reader.position()).toBe("2-a");
  });

  it("follows an answer whose rows were not read to their end, or not at all", async () => {
    await withOrders();
    const reader = await scene.reader();
    for (const isRead of [true, false]) {
      const answer = await ask(reader, "select name from orders");
      if (isRead) for (const _ of answer.rows) break;
    }
    const index = await scene.open();
    await index.apply(complete("2-a", put("orders/default/c", 1)));
    const answer = await ask(reader, "select count(*) from orders");
    expect([answer.position, [...answer.rows]]).toEqual(["2-a", [[3]]]);
  });

  it("is refused while there is no index, and reads the one that replaces it", async () => {
    const dir = join(scene.dir, "later");
    const reader = await scene.reader(dir);
    const count = () => ask(reader, "select count(*) from orders");
    await expect(count()).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
    await mkdir(dir);
    await writeFile(join(dir, "index-1.sqlite"), "");
    await expect(count()).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
    const first = await scene.open({ dir });
    await expect(count()).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
    await first.apply(complete("1-a", CLEAR, put("orders/default/a", 1)));
    expect((await count()).position).toBe("1-a");
    await first.close();
    await writeFile(join(dir, "index-2.sqlite"), "");
    const second = await scene.open({ dir });
    await second.apply(complete("2-a", CLEAR, put("orders/default/a", 1)));
    expect((await count()).position).toBe("2-a");
  });
});
