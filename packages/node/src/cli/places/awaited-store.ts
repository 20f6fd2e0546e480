import { startTimer } from "@cairn/kv";
import type { CheckpointStore } from "@cairn/checkpoint";
import { omitUndefined } from "../../config/source/omit-undefined.ts";
import type { System } from "../../api/system.ts";
import { formatDuration } from "../../text/quantities.ts";
import { printable, type Terminal } from "../terminal/terminal.ts";

/** The time after which a call is reported, in ms. A working store responds earlier, even if it is far away. */
const PATIENCE_MS = 5_000;

/**
 * Wraps `store` so that the first call that takes longer than `patienceMs` is reported on `terminal`. Otherwise a
 * command would seem to hang if the store's address accepts connections but never responds, because calls are retried
 * for minutes.
 */
export function awaitedStore(
  store: CheckpointStore,
  terminal: Pick<Terminal, "stderr">,
  patienceMs: number = PATIENCE_MS,
): CheckpointStore {
  let isReported = false;

  async function watched<T>(doing: string, work: Promise<T>): Promise<T> {
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

  return {
    location: store.location,
    ...omitUndefined({
      identity: store.identity,
      shared: store.shared,
      readOnly: store.readOnly,
      encryption: store.encryption,
    }),
    get exclusive() {
      return store.exclusive;
    },
    list: (prefix) => watched("listing its files", store.list(prefix)),
    // The duration of an upload depends on the size of its archive, and earlier calls have already shown whether the
    // store responds.
    upload: (name, content, options) => store.upload(name, content, options),
    open: (name, options) => watched(`opening ${name}`, store.open(name, options)),
    read: (name) => watched(`reading ${name}`, store.read(name)),
    create: (name, text, options) => watched(`writing ${name}`, store.create(name, text, options)),
    replace: (name, text, tag) => watched(`writing ${name}`, store.replace(name, text, tag)),
    remove: (name, options) => watched(`removing ${name}`, store.remove(name, options)),
    now: () => watched("reading its clock", store.now()),
    ...(store.describe === undefined ? {} : { describe: () => store.describe?.() }),
    ...(store.tidy === undefined
      ? {}
      : {
          tidy: async (which) =>
            await watched("looking for unfinished uploads", store.tidy?.(which) ?? Promise.resolve([])),
        }),
    close: () => store.close(),
  };
}

/** A store that is used for both saving and restoring is wrapped only once. */
export function withAwaitedStores(system: System, terminal: Pick<Terminal, "stderr">): System {
  const { checkpointer } = system;
  const awaited = new Map<CheckpointStore, CheckpointStore>();
  const once = (one: CheckpointStore): CheckpointStore => {
    const made = awaited.get(one) ?? awaitedStore(one, terminal);
    awaited.set(one, made);
    return made;
  };
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
