import { createRequire } from "node:module";

/** The bucket, and the name of the index and of its table. */
export const OWN_BUCKET = "notes";
export const OWN_INDEX = "notes";
/** The module of SQLite, which also works on versions of Node without `node:sqlite`. */
export const SQLITE = createRequire(import.meta.url).resolve("@photostructure/sqlite");

const COLUMNS = ["kind", "owner", "title", "n", "at", "body"] as const;
const INDEXES = [["owner"], ["kind", "n"]];
const TEXT = ["title", "body"];

type OwnDocument = Readonly<Record<(typeof COLUMNS)[number], string | number>>;

const SYLLABLES = ["ba", "ko", "ri", "ten", "mu", "sol", "da", "vek", "lo", "pra", "ni", "qua", "zel", "tor"];
const WORDS = Array.from({ length: 5_000 }, (_, n) => {
  const next = random(n);
  return Array.from({ length: 2 + (n % 3) }, () => SYLLABLES[next() % SYLLABLES.length]).join("");
});
const FIRST_MS = Date.UTC(2026, 0, 1);

export function ownKey(index: number): string {
  return `default/${ownName(index)}`;
}

export function ownName(index: number): string {
  return `n-${String(index).padStart(9, "0")}`;
}

/** Returns a document of about 260 characters of JSON, with 21 words in its text. Each `version` has another text. */
export function ownDocument(index: number, version = 0): OwnDocument {
  const next = random(index * 31 + version * 7_919);
  const words = (count: number): string =>
    Array.from(
      { length: count },
      () => WORDS[Math.floor(((next() % 1e6) * (next() % WORDS.length)) / 1e6)],
    ).join(" ");
  return {
    kind: `kind-${index % 20}`,
    owner: `owner-${next() % 10_000}`,
    title: words(5),
    n: next() % 1_000_000,
    at: new Date(FIRST_MS + index * 1_000).toISOString(),
    body: words(16),
  };
}

function random(seed: number): () => number {
  let state = Math.imul(seed + 1, 2_654_435_761);
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 1_664_525) + 1_013_904_223) | 0;
    return (state ^ (state >>> 13)) >>> 0;
  };
}

/** How an own index is kept. */
export interface OwnKeeping {
  /** Whether it has full text beside the secondary indexes. */
  readonly text: boolean;
  readonly ready?: "later" | "waits";
  readonly checkpoint?: boolean;
}

/** Returns the value of `cairn/indexes`. */
export function ownIndexes({ text, ready = "waits", checkpoint = false }: OwnKeeping): object {
  const columns = Object.fromEntries(COLUMNS.map((column) => [column, column]));
  return {
    [OWN_INDEX]: {
      "cairn/module": "cairn.sqlite/->index",
      driver: SQLITE,
      version: 1,
      ready,
      "checkpoint?": checkpoint,
      tables: {
        [OWN_INDEX]: { bucket: OWN_BUCKET, columns, indexes: INDEXES, ...(text ? { text: TEXT } : {}) },
      },
    },
  };
}

/** The same table in SQL. */
export const OWN_TABLE = {
  create: `create table ${OWN_INDEX} (namespace text not null, name text not null, revision integer not null,
    tx_time text not null, ${COLUMNS.join(", ")}, primary key (namespace, name))`,
  insert: `insert into ${OWN_INDEX} values (?, ?, ?, ?${", ?".repeat(COLUMNS.length)})`,
  indexes: INDEXES.map((columns, n) => `create index by_${n} on ${OWN_INDEX} (${columns.join(", ")})`).join(
    ";",
  ),
  text: `create virtual table ${OWN_INDEX}_text using fts5 (namespace unindexed, name unindexed, ${TEXT.join(", ")}, content=${OWN_INDEX});
    insert into ${OWN_INDEX}_text (${OWN_INDEX}_text) values ('rebuild')`,
} as const;

/** Returns the row of a document, as Cairn binds it. */
export function ownRow(index: number): readonly unknown[] {
  const document = ownDocument(index);
  const values = COLUMNS.map((column) => document[column]);
  const bound = values.map((value) => (typeof value === "number" ? BigInt(value) : value));
  return ["default", ownName(index), BigInt(index + 1), document.at, ...bound];
}

/** Returns the body of a query by key. */
export function rowQuery(index: number): object {
  const sql = `select kind, owner, title, n, at, body from ${OWN_INDEX} where namespace = ? and name = ?`;
  return { sql, args: ["default", ownName(index)] };
}

/** A query whose answer has nearly 8 MiB, the largest that is allowed. */
export const LARGE_QUERY = {
  sql: `with recursive n(i) as (select 1 union all select i + 1 from n where i < 8000) select printf('%.*c', 1000, 'x') from n`,
};
