import { cancellable } from "./cancellable.ts";
import type { ClientCalls } from "./types/client-calls.ts";
import { CairnClientError } from "./types/client-error.ts";
import type {
  ClientDocument,
  ClientFollowQuery,
  ClientGetOptions,
  ClientHistoryOptions,
  ClientListQuery,
  ClientPage,
  ClientStates,
  ClientTransaction,
  ClientVersion,
  ClientWatchQuery,
  LoadedDocument,
  LoadedDocuments,
  LoadOptions,
  Removed,
  RemoveQuery,
  WaitOptions,
  WriteOptions,
  Written,
} from "./types/client-types.ts";
import type { Faithful } from "./types/faithful.ts";
import { pathText } from "./types/json-problem.ts";
import type { Schema } from "./types/schema.ts";

/**
 * A bucket whose documents have one type; its methods are those of the client. With a schema, a document that does not
 * match it is refused with `DOCUMENT_INVALID` when it is written, and also when it is read. A schema only validates:
 * documents are stored and returned as they are.
 */
export class Bucket<T> {
  readonly name: string;
  readonly #client: ClientCalls;
  readonly #schema: Schema<T> | undefined;

  constructor(client: ClientCalls, name: string, schema: Schema<T> | undefined) {
    this.name = name;
    this.#client = client;
    this.#schema = schema;
  }

  async get(key: string, options?: ClientGetOptions): Promise<ClientDocument<T> | undefined> {
    const found = await this.#client.get<T>(this.name, key, options);
    return found && (await this.#checked(found));
  }

  async *list(query?: ClientListQuery): AsyncGenerator<ClientDocument<T>, void, void> {
    for await (const found of this.#client.list<T>(this.name, query)) yield await this.#checked(found);
  }

  async page(query?: ClientListQuery, cursor?: string): Promise<ClientPage<T>> {
    const page = await this.#client.page<T>(this.name, query, cursor);
    return { ...page, documents: await this.#allChecked(page.documents) };
  }

  async *history(key: string, options?: ClientHistoryOptions): AsyncGenerator<ClientVersion<T>, void, void> {
    for await (const version of this.#client.history<T>(this.name, key, options))
      yield version.deleted ? version : { ...version, document: await this.#valid(key, version.document) };
  }

  async put(key: string, document: T & Faithful<T>, options?: WriteOptions): Promise<Written> {
    const valid = (await this.#valid(key, document)) as T & Faithful<T>;
    return await this.#client.put(this.name, key, valid, options);
  }

  async delete(key: string, options?: WriteOptions): Promise<Written> {
    return await this.#client.delete(this.name, key, options);
  }

  async update(
    key: string,
    change: (document: T | undefined) => (T & Faithful<T>) | undefined,
    options?: WaitOptions,
  ): Promise<ClientDocument<T> | undefined> {
    const validly = async (document: T | undefined): Promise<(T & Faithful<T>) | undefined> => {
      const changed = change(document === undefined ? undefined : await this.#valid(key, document));
      return changed === undefined ? undefined : ((await this.#valid(key, changed)) as T & Faithful<T>);
    };
    return await this.#client.update<T>(this.name, key, validly, options);
  }

  async load(documents: LoadedDocuments<T>, options?: LoadOptions): Promise<{ readonly documents: number }> {
    const valid = async function* (this: Bucket<T>): AsyncGenerator<LoadedDocument<T>, void, void> {
      for await (const { key, document } of documents)
        yield { key, document: (await this.#valid(key, document)) as T & Faithful<T> };
    };
    return await this.#client.load<T>(this.name, valid.call(this), options);
  }

  async deleteAll(query?: RemoveQuery): Promise<Removed> {
    return await this.#client.deleteAll(this.name, query);
  }

  watch(query?: Omit<ClientWatchQuery, "bucket">): AsyncGenerator<ClientTransaction<T>, void, void> {
    return cancellable(
      () => ({ ...query, bucket: this.name }),
      (until) => this.#client.watch<T>(until),
      async (transaction) => ({ ...transaction, changes: await this.#allChecked(transaction.changes) }),
    );
  }

  follow(query?: Omit<ClientFollowQuery, "bucket">): AsyncGenerator<ClientStates<T>, void, void> {
    return cancellable(
      () => ({ ...query, bucket: this.name }),
      (until) => this.#client.follow<T>(until),
      async (states) => ({ ...states, changes: await this.#allChecked(states.changes) }),
    );
  }

  async #allChecked<One extends { readonly document?: T | undefined }>(
    given: readonly One[],
  ): Promise<readonly One[]> {
    if (this.#schema === undefined) return given;
    return await Promise.all(given.map(async (one) => await this.#checked(one)));
  }

  async #checked<One extends { readonly document?: T | undefined; readonly name?: string }>(
    one: One,
  ): Promise<One> {
    if (this.#schema === undefined || one.document === undefined) return one;
    return { ...one, document: await this.#valid(one.name ?? "", one.document) };
  }

  async #valid(key: string, document: T): Promise<T> {
    if (this.#schema === undefined) return document;
    const result = await this.#schema["~standard"].validate(document);
    // Not what the schema makes of it: a schema that omits members it does not know would delete those of newer programs.
    if (result.issues === undefined) return document;
    const issues = result.issues.map(({ message, path = [] }) => ({
      path: pathText(path.map((part) => (typeof part === "object" ? part.key : part))),
      message,
    }));
    const listed = issues.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`));
    throw new CairnClientError(
      "DOCUMENT_INVALID",
      `The document ${JSON.stringify(key)} of ${this.name} does not match its schema: ${listed.join("; ")}.`,
      {
        hint: "Correct the document that is written, or the schema if it is the stored document that is right.",
        details: { key, issues },
      },
    );
  }
}
