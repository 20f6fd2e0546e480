/** The part of the API of `node:sqlite` that the view uses. */
export interface Database {
  exec(sql: string): void;
  prepare(sql: string): {
    run(...given: readonly (string | number | null)[]): { lastInsertRowid: number | bigint };
    get(...given: readonly (string | number | null)[]): unknown;
    all(...given: readonly (string | number | null)[]): unknown[];
  };
  close(): void;
}

/** Opens a database with Node's own SQLite or, before Node 22, with a package that has the same API. */
export async function openDatabase(file: string): Promise<Database> {
  const name =
    process.getBuiltinModule?.("node:sqlite") === undefined ? "@photostructure/sqlite" : "node:sqlite";
  const { DatabaseSync } = (await import(name)) as { DatabaseSync: new (path: string) => Database };
  return new DatabaseSync(file);
}
