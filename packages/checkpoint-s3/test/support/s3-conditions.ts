import type { S3Request } from "./s3-request.ts";

/** The response of a service that evaluates the condition of a write. */
export type ConditionAnswer = "go on" | 412 | 404;

/**
 * Evaluates the conditions of writes in place of a service that ignores them. An instance knows only the objects that
 * were written through it, so everything must be written through it.
 */
export class S3Conditions {
  readonly #tags = new Map<string, string>();
  readonly #turns = new Map<string, Promise<void>>();

  /** Waits until no other write of the key is in progress. The returned function must be called at the end, whatever the outcome. */
  async turn(key: string): Promise<() => void> {
    const before = this.#turns.get(key);
    const { promise, resolve } = deferred();
    this.#turns.set(key, before === undefined ? promise : before.then(() => promise));
    await before;
    return resolve;
  }

  /** Returns whether the condition of a request is met. */
  check({ key, onlyIfAbsent, onlyIfTag }: S3Request): ConditionAnswer {
    const tag = this.#tags.get(key);
    if (onlyIfAbsent && tag !== undefined) return 412;
    if (onlyIfTag === undefined) return "go on";
    if (tag === undefined) return 404;
    return tag === onlyIfTag ? "go on" : 412;
  }

  /** Records what the service has done. */
  note({ kind, key }: S3Request, tag: string): void {
    if (kind === "delete") this.#tags.delete(key);
    else this.#tags.set(key, tag.replaceAll('"', ""));
  }
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = nothing;
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

function nothing(): void {}
