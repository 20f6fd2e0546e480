import { startTimer } from "@cairn/kv";
import type { CheckpointStore } from "@cairn/checkpoint";
import type { System } from "@cairn/engine";
import { formatDuration, omitUndefined, madeOnce } from "@cairn/text";
import { printable, type Terminal } from "../terminal/terminal.ts";

/** The time after which a call is reported, in ms. A working store responds earlier, even if it is far away. */
const PATIENCE_MS = 5_000;

/**
 * Wraps `store` to report its first call that takes longer than `patienceMs`. Calls are retried for minutes, so a
 * command would seem to hang if the store's address accepts connections but never responds.
 */
export function awaitedStore(
  store: CheckpointStore,
  terminal: Pick<Terminal, "stderr">,
  patienceMs: number = PATIENCE_MS,
): CheckpointStore {
  let isReported = false;

  async function watched(doing: string, work: unknown): Promise<unknown> {
    if (isReported) return work;
    const report = (): void => {
      if (isReported) return;
      isReported = true;
      const where = printable(store.identity ?? store.location);
      const taken = formatDuration(patienceMs);
      terminal.stderr.write(
        `Still waiting for ${where}: ${printable(doing)} has taken ${taken} so far. Press Ctrl-C to stop waiting.\n`,
      );
    };
    const cancel = startTimer(patienceMs, report, { background: true });
    try {
      return await work;
    } finally {
      cancel();
    }
  }

  // The members of a frozen object cannot be replaced, so the proxy's own target is empty.
  return new Proxy({} as CheckpointStore, {
    get(_, member) {
      const value: unknown = Reflect.get(store, member, store);
      if (typeof value !== "function") return value;
      const doing = WATCHED.get(member);
      return (...args: readonly unknown[]): unknown => {
        const work: unknown = Reflect.apply(value, store, args);
        return doing === undefined
          ? work
          : watched(
              doing.replace("$", () => String(args[0])),
              work,
            );
      };
    },
  });
}

/** The watched calls; $ is a file's name. Not uploads, which may take long: earlier calls show a silent store. */
const WATCHED: ReadonlyMap<string | symbol, string> = new Map([
  ["list", "listing its files"],
  ["open", "opening $"],
  ["read", "reading $"],
  ["create", "writing $"],
  ["replace", "writing $"],
  ["remove", "removing $"],
  ["now", "reading its clock"],
  ["tidy", "looking for unfinished uploads"],
]);

/** A store that is used for both saving and restoring is wrapped only once. */
export function withAwaitedStores(system: System, terminal: Pick<Terminal, "stderr">): System {
  const { checkpointer } = system;
  const awaited = new Map<CheckpointStore, CheckpointStore>();
  const once = (one: CheckpointStore): CheckpointStore =>
    madeOnce(awaited, one, () => awaitedStore(one, terminal));
  return {
    ...system,
    ...omitUndefined({ restoreFrom: system.restoreFrom?.map(once) }),
    checkpointer: checkpointer && {
      ...checkpointer,
      store: once(checkpointer.store),
      ...omitUndefined({ restoreFrom: checkpointer.restoreFrom?.map(once) }),
    },
  };
}
