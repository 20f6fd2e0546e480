import type { KvProvider, KvStore } from "../src/store/kv-store.ts";

/**
 * The environment of each part of the suite: a new directory for each test, which is removed once every store in it is
 * closed.
 */
export interface KvStoreBench {
  readonly provider: KvProvider;
  /** Returns a path in the test's directory. Creates nothing. */
  path(name: string): string;
  /** Opens the store at the path of `name`, and closes it at the end of the test. */
  open(name: string): Promise<KvStore>;
}
