import { readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { liveTableBounds } from "../../src/tables/check-named-tables.ts";
import { findTableDamage, type TableDamage } from "../../src/tables/table-damage.ts";
import { testDirectory } from "../support/test-directory.ts";

const directory = testDirectory();
const ROWS = 500;

const keyOf = (row: number): string => `row-${String(row).padStart(4, "0")}`;
const valueOf = (row: number): string => `<value of row ${row}>${"x".repeat(200)}`;

/** Returns the only table of a LevelDB database. It is not compressed, so that a row's value can be found in it. */
async function oneTable(): Promise<string> {
  const store = await directory.open("store", { compression: false });
  for (let row = 0; row < ROWS; row += 1) {
    await store.batch([{ type: "put", key: Buffer.from(keyOf(row)), value: Buffer.from(valueOf(row)) }]);
  }
  await store.compact();
  await store.close();
  const names = (await readdir(directory.path("store"))).filter((name) => name.endsWith(".ldb"));
  expect(names).toHaveLength(1);
  return directory.path("store", names[0] ?? "");
}

async function damageOf(table: string): Promise<TableDamage[]> {
  const found: TableDamage[] = [];
  for await (const part of findTableDamage(table)) found.push(part);
  return found;
}

function contains({ after, upTo }: TableDamage, key: string): boolean {
  const bytes = Buffer.from(key);
  return (
    (after === undefined || Buffer.compare(bytes, after) > 0) &&
    (upTo === undefined || Buffer.compare(bytes, upTo) <= 0)
  );
}

it("findTableDamage finds nothing in an undamaged table, and reports all its blocks", async () => {
  const table = await oneTable();
  let bytes = 0;
  for await (const part of findTableDamage(table, (read) => (bytes += read))) expect(part).toBeUndefined();
  const { length } = await readFile(table);
  expect(bytes).toBeGreaterThan(0.95 * length);
  expect(bytes).toBeLessThan(length);
});

it("findTableDamage finds every damaged block, each with exactly the rows in it", async () => {
  const table = await oneTable();
  const content = await readFile(table);
  const damaged = [0, 120, 333, ROWS - 1];
  for (const row of damaged) {
    const at = content.indexOf(`<value of row ${row}>`);
    content.writeUInt8(content.readUInt8(at) ^ 0x10, at);
  }
  await writeFile(table, content);
  const found = await damageOf(table);
  expect(found).toHaveLength(damaged.length);
  for (const [at, row] of damaged.entries()) {
    const part = found[at];
    if (part === undefined) throw new Error("there are as many");
    expect(part.error.code).toBe("INDEX_CORRUPT");
    const rows = Array.from({ length: ROWS }, (_, number) => number).filter((number) =>
      contains(part, keyOf(number)),
    );
    expect(rows).toContain(row);
    // A block has about 4 KiB.
    expect(rows.length).toBeLessThan(30);
  }
});

it("findTableDamage reports the whole table if the table's index is damaged, or if the table is cut short", async () => {
  const table = await oneTable();
  const { length } = await readFile(table);
  const whole = { offset: 0, after: undefined, upTo: undefined, error: { code: "INDEX_CORRUPT" } };
  await truncate(table, length - 1000);
  expect(await damageOf(table)).toMatchObject([{ ...whole, bytes: length - 1000 }]);
  await truncate(table, 10);
  expect(await damageOf(table)).toMatchObject([{ ...whole, bytes: 10 }]);
});

it("the manifest names the first and the last row of each table", async () => {
  const table = await oneTable();
  const bounds = [...(await liveTableBounds(directory.path("store")))];
  expect(bounds.map(([name]) => directory.path("store", name))).toEqual([table]);
  const [[, [first, last]] = ["", [new Uint8Array(0), new Uint8Array(0)]]] = bounds;
  expect(Buffer.from(first).toString()).toBe(keyOf(0));
  expect(Buffer.from(last).toString()).toBe(keyOf(ROWS - 1));
});
