import { readFileSync } from "node:fs";
import { mkdir, readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CLEAR, complete, incomplete, put, putText, remove } from "../../../testing/own-index-batches.ts";
import { ask, sqliteScene } from "./sqlite-scene.ts";

describe("an index in SQLite", () => {
  const scene = sqliteScene();

  it("has a row for each document of a table's bucket", async () => {
    const index = await scene.open();
    await index.apply(
      complete(
        "7-a",
        CLEAR,
        put("customers/default/c", { owner: "nobody" }),
        put("orders/default/a", { owner: "ann", total: { amount: 12.5 }, title: "Tea" }, 3),
        put("orders/eu/b", { owner: "bob" }, 5),
      ),
    );
    const columns = "namespace, name, revision, tx_time, owner, total, title";
    expect(await scene.query(`select ${columns} from orders order by name`)).toEqual([
      ["default", "a", 3, "2026-11-28T10:00:00.000Z", "ann", 12.5, "Tea"],
      ["eu", "b", 5, "2026-11-28T10:00:00.000Z", "bob", null, null],
    ]);
    expect(await index.position()).toBe("7-a");
  });

  it("stores values of JSON as SQL computes with them", async () => {
    const index = await scene.open();
    const values = ["007", 7, 7.5, true, false, null, [1, "a"], { b: 1 }, 2 ** 60, "a\0b\ud800"];
    await index.apply(
      complete("1-a", CLEAR, ...values.map((owner, n) => put(`orders/default/${n}`, { owner }))),
    );
    expect(await scene.query("select owner, typeof(owner) from orders order by name")).toEqual([
      ["007", "text"],
      [7, "integer"],
      [7.5, "real"],
      [1, "integer"],
      [0, "integer"],
      [null, "null"],
      ['[1,"a"]', "text"],
      ['{"b":1}', "text"],
      [2 ** 60, "real"],
      ["a\ufffdb\ufffd", "text"],
    ]);
  });

  it("stores numbers that its driver would bind as 0", async () => {
    const index = await scene.open();
    const values = [1e-17, 5e-324, -1e-310, Number.EPSILON, Number.EPSILON / 2];
    await index.apply(
      complete("1-a", CLEAR, ...values.map((owner, n) => put(`orders/default/${n}`, { owner }))),
    );
    const stored = await scene.query("select owner, typeof(owner) from orders order by name");
    expect(stored).toEqual(values.map((value) => [value, "real"]));
    await expect(scene.query("select ?", [1e-17])).rejects.toMatchObject({ code: "REQUEST_INVALID" });
  });

  it("finds no value where a document has no such members of its own", async () => {
    const index = await scene.open({
      tables: { t: { bucket: "t", columns: { a: "a.length", b: "constructor", c: "__proto__.x" } } },
    });
    const texts = ['"abc"', "null", "[[1]]", '{"a":"abc"}', '{"a":[1]}', '{"__proto__":{"x":1}}'];
    await index.apply(complete("1-a", CLEAR, ...texts.map((json, n) => putText(`t/default/${n}`, json))));
    expect(await scene.query("select a, b, c from t order by name")).toEqual([
      ...Array.from({ length: 5 }, () => [null, null, null]),
      [null, null, 1],
    ]);
  });

  it("stores a whole document exactly, so that SQL can read its members", async () => {
    const index = await scene.open();
    const json = '{"total":{"amount":1.50},"lines":[{"n":2}]}';
    await index.apply(complete("1-a", CLEAR, putText("orders/default/a", json)));
    expect(await scene.query("select document, document ->> '$.lines[0].n' from orders")).toEqual([
      [json, 2],
    ]);
  });

  it("refuses a key that SQLite cannot hold, and names it", async () => {
    const index = await scene.open();
    await expect(index.apply(complete("1-a", CLEAR, put("orders/default/a\0b", 1)))).rejects.toMatchObject({
      message: expect.stringContaining("orders default/a\0b: SQLite cannot hold") as string,
    });
  });

  it("goes on once a key that SQLite cannot hold is deleted, and deletes no other", async () => {
    const index = await scene.open();
    await index.apply(complete("1-a", CLEAR, put("orders/default/a", 1)));
    await index.apply(complete("3-a", remove("orders/default/a\0b")));
    expect(await index.position()).toBe("3-a");
    expect(await scene.query("select name from orders")).toEqual([["a"]]);
  });

  it("names the document of a change that fails, and keeps what was there", async () => {
    const index = await scene.open();
    await index.apply(complete("1-a", CLEAR, put("orders/default/a", { owner: "ann" })));
    await expect(
      index.apply(complete("2-a", remove("orders/default/a"), putText("orders/default/b", "{"))),
    ).rejects.toThrow(/^orders default\/b: /);
    await index.close();
    expect(await (await scene.open()).position()).toBe("1-a");
    expect(await scene.query("select name from orders")).toEqual([["a"]]);
  });

  it("finds documents by their words, which follow each change", async () => {
    const index = await scene.open();
    const find = (word: string) =>
      scene.query("select namespace, name, title from orders_text where orders_text match ? order by name", [
        word,
      ]);
    await index.apply(
      complete(
        "1-a",
        CLEAR,
        put("orders/default/a", { title: "green tea" }),
        put("orders/default/b", { title: "black tea" }),
      ),
    );
    expect(await find("tea")).toEqual([
      ["default", "a", "green tea"],
      ["default", "b", "black tea"],
    ]);
    await index.apply(
      complete(
        "2-a",
        put("orders/default/a", { title: "coffee" }),
        remove("orders/default/b"),
        put("orders/default/c", { title: "white tea" }),
      ),
    );
    expect(await find("tea")).toEqual([["default", "c", "white tea"]]);
    expect(await find("coffee")).toEqual([["default", "a", "coffee"]]);
    await index.apply(complete("3-a", put("orders/default/a", { title: "coffee", owner: "ann" })));
    expect(await find("owner:ann")).toEqual([["default", "a", "coffee"]]);
    const joined = "select o.name, snippet(orders_text, 2, '[', ']', '', 9) from orders_text t";
    expect(
      await scene.query(`${joined} join orders o on o.rowid = t.rowid where orders_text match 'white'`),
    ).toEqual([["c", "[white] tea"]]);
  });

  it("has its secondary indexes after a build, and uses them", async () => {
    const index = await scene.open();
    await index.apply(incomplete("1-a", CLEAR, put("orders/default/a", { owner: "ann" })));
    await index.apply(complete("1-a", put("orders/default/b", { owner: "bob" })));
    const plan = await scene.query("explain query plan select name from orders where owner = 'ann'");
    expect(plan.flat().join()).toContain("cairn_orders_0");
  });

  it("has no position while it is built, and begins again after a build that was cut off", async () => {
    const index = await scene.open();
    await index.apply(complete("1-a", CLEAR, put("orders/default/old", 1)));
    await index.apply(incomplete("9-a", CLEAR, put("orders/default/a", 1)));
    await index.close();
    const again = await scene.open();
    expect(await again.position()).toBeUndefined();
    await expect(scene.query("select * from orders")).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
    await again.apply(complete("9-a", CLEAR, put("orders/default/b", 1)));
    expect(await scene.query("select name from orders")).toEqual([["b"]]);
  });

  it("is built again if its tables were configured differently, and says so", async () => {
    const index = await scene.open();
    await index.apply(complete("1-a", CLEAR, put("orders/default/a", { owner: "ann" })));
    await index.close();
    const same = await scene.open();
    expect(await same.position()).toBe("1-a");
    expect(scene.notices).toEqual([]);
    await same.close();
    const other = await scene.open({ tables: { orders: { bucket: "orders", columns: { who: "owner" } } } });
    expect(await other.position()).toBeUndefined();
    expect(scene.notices).toEqual([expect.stringContaining("other tables or columns")]);
    await other.apply(complete("2-a", CLEAR, put("orders/default/a", { owner: "ann" })));
    expect(await scene.query("select who from orders")).toEqual([["ann"]]);
  });

  /** Returns the folder and the file of a copy of an index with documents. */
  async function captured(): Promise<{ dir: string; path: string }> {
    const index = await scene.open();
    await index.apply(complete("1-a", CLEAR, ...documents(0)));
    const dir = join(scene.dir, "copy");
    await mkdir(dir);
    await (
      await index.capture?.(dir)
    )?.copied;
    return { dir, path: join(dir, "index-1.sqlite") };
  }

  it.each(["not a database", "cut off"])("is built again if its file is %s, and says so", async (damage) => {
    const { dir, path } = await captured();
    if (damage === "cut off") await truncate(path, 20_000);
    else await writeFile(path, "This is not a database. ".repeat(1_000));
    const index = await scene.open({ dir });
    expect(await index.position()).toBeUndefined();
    expect(scene.notices).toEqual([expect.stringContaining("is damaged")]);
    await index.apply(complete("2-a", CLEAR, ...documents(0)));
    expect(await scene.query("select count(*) from orders")).toEqual([[500]]);
    expect((await readdir(dir)).filter((name) => name.endsWith(".sqlite"))).toEqual(["index-2.sqlite"]);
  });

  it("is built again after a change that met damage", async () => {
    const { dir, path } = await captured();
    const bytes = await readFile(path);
    const pagesOfPositionAndSchema = 8;
    await writeFile(path, bytes.fill(0xff, pagesOfPositionAndSchema * 4_096));
    const damaged = await scene.open({ dir });
    expect(await damaged.position()).toBe("1-a");
    await expect(damaged.apply(complete("2-a", ...documents(1)))).rejects.toMatchObject({
      code: "INDEX_CORRUPT",
    });
    await damaged.close();
    expect(await (await scene.open({ dir })).position()).toBeUndefined();
  });

  it("does not touch its file while it is copied", async () => {
    const index = await scene.open();
    await index.apply(complete("1-a", CLEAR, ...documents(0)));
    const dir = join(scene.dir, "copy");
    await mkdir(dir);
    const { copied } = (await index.capture?.(dir)) ?? {};
    const file = join(scene.dir, "index-1.sqlite");
    const before = readFileSync(file);
    // Nothing else runs in between, so the copy cannot be complete.
    void index.apply(complete("2-a", ...manyPages()));
    expect(readFileSync(file).equals(before)).toBe(true);
    await copied;
    expect(readFileSync(join(dir, "index-1.sqlite")).equals(before)).toBe(true);
    await index.apply(complete("3-a", ...manyPages()));
    expect(readFileSync(file).equals(before)).toBe(false);
  });

  it("is captured with what a query has kept in its log", async () => {
    const index = await scene.open();
    await index.apply(complete("1-a", CLEAR, ...documents(0)));
    const { rows } = await ask(await scene.reader(), "select * from orders");
    const reading = rows[Symbol.iterator]();
    reading.next();
    await index.apply(complete("2-a", ...documents(1)));
    const expected = await index.digest?.();
    const dir = join(scene.dir, "other");
    await mkdir(dir);
    await (
      await index.capture?.(dir)
    )?.copied;
    const copy = await scene.open({ dir });
    expect([await copy.position(), await copy.digest?.()]).toEqual(["2-a", expected]);
    reading.return?.();
  });

  it("has a digest of which rows are in which table", async () => {
    const columns = { n: "n" };
    const index = await scene.open({ tables: { a: { bucket: "a", columns }, b: { bucket: "b", columns } } });
    await index.apply(complete("1-a", CLEAR, put("a/default/x", 1)));
    const digest = await index.digest?.();
    await index.apply(complete("1-a", CLEAR, put("b/default/x", 1)));
    expect(await index.digest?.()).not.toBe(digest);
  });

  it("has equal digests for equal contents, and others for others", async () => {
    const index = await scene.open();
    await index.apply(complete("1-a", CLEAR, ...documents(0), put("orders/default/x", 1)));
    const before = await index.digest?.();
    await index.apply(complete("2-a", remove("orders/default/x"), ...documents(1)));
    expect(await index.digest?.()).not.toBe(before);
    const changed = await index.digest?.();
    await index.apply(complete("2-a", CLEAR, ...documents(1)));
    expect(await index.digest?.()).toBe(changed);
  });
});

/** More changes than SQLite keeps in its log. */
function manyPages() {
  const owner = "x".repeat(4_000);
  return Array.from({ length: 1_500 }, (_, n) => put(`orders/default/${n}`, { owner }));
}

function documents(revision: number) {
  return Array.from({ length: 500 }, (_, n) =>
    put(
      `orders/default/${String(n).padStart(3, "0")}`,
      { owner: `owner ${revision} ${n}`, title: `title ${n}` },
      revision,
    ),
  );
}
