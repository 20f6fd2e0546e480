import { ALL_RIGHTS, includesRight, type Right } from "@cairn/client/protocol";
import { CairnError } from "@cairn/kv";
import type { TokenOptions } from "@cairn/engine";
import { bucketProblem } from "@cairn/text";

/** What the sender of a request may do, as its token determines it. */
export class Permit {
  /** The token's name; undefined for `auth-token` and for nodes without tokens. */
  readonly name: string | undefined;
  /** The only buckets that the sender may use; undefined if it may use all. */
  readonly buckets: ReadonlySet<string> | undefined;
  readonly #rights: readonly Right[];
  readonly #onRevoked = new Set<() => void>();
  #isRevoked = false;

  constructor({ name, rights, buckets }: Omit<TokenOptions, "source">) {
    this.name = name;
    this.#rights = rights;
    this.buckets = buckets === undefined ? undefined : new Set(buckets);
  }

  /** Returns whether the token has ceased to be valid since the permit was granted. */
  get isRevoked(): boolean {
    return this.#isRevoked;
  }

  has(right: Right): boolean {
    return includesRight(this.#rights, right);
  }

  mayUse(bucket: string): boolean {
    return this.buckets === undefined || this.buckets.has(bucket);
  }

  /** Throws `FORBIDDEN` unless the sender has `right`. `what` is what requires it. */
  require(right: Right, what: string): void {
    if (this.has(right)) return;
    throw new CairnError(
      "FORBIDDEN",
      `${this.#subject} does not have the right "${right}", which ${what} requires.`,
      `Use another token, or add "${right}" to the rights of this token in cairn/http-server of the node's configuration and restart the node.`,
    );
  }

  /** Throws `FORBIDDEN` unless the sender may use `bucket`. */
  requireBucket(bucket: string): void {
    if (this.mayUse(bucket)) return;
    const isName = bucketProblem(bucket) === undefined;
    throw new CairnError(
      "FORBIDDEN",
      `${this.#subject} does not apply to the bucket ${isName ? bucket : JSON.stringify(bucket)}.`,
      isName
        ? `Use another token, or add "${bucket}" to the buckets of this token in cairn/http-server of the node's configuration and restart the node.`
        : "Use a token that is not limited to buckets.",
    );
  }

  /** Throws `FORBIDDEN` unless the sender may use all buckets. */
  requireAllBuckets(): void {
    if (this.buckets === undefined) return;
    throw new CairnError(
      "FORBIDDEN",
      `${this.#subject} applies only to the buckets ${[...this.buckets].join(", ")}, but this request concerns all buckets.`,
      "Name a bucket, if the request can name one, or use a token that is not limited to buckets.",
    );
  }

  onRevoked(listener: () => void): () => void {
    this.#onRevoked.add(listener);
    return () => void this.#onRevoked.delete(listener);
  }

  revoke(): void {
    this.#isRevoked = true;
    for (const listener of this.#onRevoked) listener();
    this.#onRevoked.clear();
  }

  get #subject(): string {
    return this.name === undefined ? "The token" : `The token ${this.name}`;
  }
}

/** The permit of every request to a node without tokens. */
export const EVERYTHING = new Permit({ rights: ALL_RIGHTS });

/** The permit of requests without a token to addresses that require none. */
export const NOTHING = new Permit({ rights: [] });
