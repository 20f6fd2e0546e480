import type { KvProvider, KvStore } from "../src/store/kv-store.ts";

/** What each part of the suite works with: a fresh directory a test, removed after it with everything opened in it. */
export interface KvStoreBench {
  readonly provider: KvProvider;
  /** Returns a path in the test's directory; nothing is made there. */
  path(name: string): string;
  /** Opens (and at the end of the test closes) the store in that path. */
  open(name: string): Promise<KvStore>;
}
