import type { CairnClient, ClientStateChange } from "@cairn/client";
import type { Database } from "./sqlite.ts";

export interface Note {
  readonly text: string;
}

const TABLES = `
  pragma journal_mode = wal;
  pragma synchronous = normal;
  create table if not exists place (one integer primary key check (one = 1), position text, tx integer);
  create table if not exists note (id integer primary key, key text unique, day text);
  create virtual table if not exists words using fts5(text);`;

/** A view of a bucket in SQLite: full text, and the number of notes by the day of their last change. */
export class View implements AsyncDisposable {
  readonly #db: Database;
  readonly #abort = new AbortController();
  #following: Promise<void> = Promise.resolve();
  #tx = 0;
  #waiting: (() => void)[] = [];

  constructor(db: Database) {
    this.#db = db;
    db.exec(TABLES);
  }

  /** Resolves once the view is up to date for the first time. */
  async start(client: CairnClient, bucket: string): Promise<this> {
    const place = this.#db.prepare("select position from place").get() as { position: string } | undefined;
    const { signal } = this.#abort;
    const states = client.bucket<Note>(bucket).follow({ from: place?.position ?? undefined, signal });
    await new Promise<void>((resolve, reject) => {
      this.#following = (async () => {
        for await (const { changes, complete, position = null, txId } of states) {
          this.#db.exec("begin");
          for (const change of changes) this.#apply(change);
          this.#db.prepare("insert or replace into place values (1, ?, ?)").run(position, txId);
          this.#db.exec("commit");
          if (!complete) continue;
          this.#tx = txId;
          for (const arrived of this.#waiting.splice(0)) arrived();
          resolve();
        }
      })().catch(reject);
    });
    return this;
  }

  #apply(change: ClientStateChange<Note>): void {
    if (change.op === "clear") return this.#db.exec("delete from note; delete from words");
    const key = `${change.namespace}/${change.name}`;
    const old = this.#db.prepare("delete from note where key = ? returning id").get(key) as { id: number };
    this.#db.prepare("delete from words where rowid = ?").run(old?.id ?? null);
    if (change.op === "delete") return;
    const insert = this.#db.prepare("insert into note (key, day) values (?, ?)");
    const { lastInsertRowid: id } = insert.run(key, change.txTime.slice(0, 10));
    this.#db.prepare("insert into words (rowid, text) values (?, ?)").run(Number(id), change.document.text);
  }

  search(words: string): number {
    const found = this.#db.prepare("select count(*) n from words where words match ?").get(words);
    return (found as { n: number }).n;
  }

  perDay(): unknown {
    return this.#db.prepare("select day, count(*) notes from note group by day").all();
  }

  /** Resolves once the view contains a transaction, so that a program reads what it wrote. */
  async reached(txId: number): Promise<void> {
    while (this.#tx < txId) await new Promise<void>((resolve) => void this.#waiting.push(resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.#following;
    this.#db.close();
  }
}
