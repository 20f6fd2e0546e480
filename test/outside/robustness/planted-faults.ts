import type {
  FoundDocument,
  History,
  Operation,
  ReadKind,
  ReadOperation,
  WatchedEvent,
  WriteAnswer,
  WriteOperation,
} from "./history.ts";

/** A fault that the judge must find in a history, and the part of etcd's validator that must find it. */
export interface PlantedFault {
  readonly by: "linearization" | "watch" | "serializable";
  /** Returns the history with the fault; undefined if it has no place for it. */
  readonly plant: (history: History) => History | undefined;
}

type AnsweredWrite = WriteOperation & { readonly answer: Extract<WriteAnswer, { kind: "outcome" }> };

const NEVER_WRITTEN = "never written";

/** The faults by name. */
export const PLANTED_FAULTS: Readonly<Record<string, PlantedFault>> = {
  "a lost event": inEvents((events, at) => events.toSpliced(at, 1)),
  "a swapped pair of events": inEvents((events, at) =>
    events.toSpliced(at, 2, ...events.slice(at, at + 2).toReversed()),
  ),
  "a repeated event": inEvents((events, at) => events.toSpliced(at + 1, 0, ...events.slice(at, at + 1))),
  "a heartbeat before an event that it includes": inEvents((events, at) => {
    const [event] = events.slice(at);
    return event && events.toSpliced(at, 0, { ...event, isProgress: true, changes: [] });
  }),
  "an event of a value that never was": inEvents((events, at) =>
    events.map((event, n) => {
      const changes = event.changes.map((change) => ({ ...change, value: NEVER_WRITTEN }));
      return n === at ? { ...event, changes } : event;
    }),
  ),
  "a stale list that claims to be current": staleRead((read) => read.key === ""),
  "a stale read of a key that claims to be current": staleRead((read) => read.key !== ""),
  "a current read of a value that never was": inRead("linearizable", (documents) =>
    documents.map(neverWritten),
  ),
  "a read of the past with a value that never was": inRead("past", (documents) =>
    documents.map(neverWritten),
  ),
  "a read of the past that lacks a document": inRead("past", (documents) => documents.slice(1)),
  "a read of a key that is older than the transaction that it names": {
    by: "serializable",
    plant: (history) =>
      inOperation(history, (one) => {
        if (one.kind === "write" || one.of !== "current" || one.key === "") return undefined;
        const [found] = one.documents;
        if (found === undefined || found.revision > one.txId || !isPast(one.txId, history)) return undefined;
        const older = history.operations
          .flatMap((other) => (other.kind === "read" ? other.documents : []))
          .find(({ key, revision }) => key === one.key && revision < found.revision);
        return older && { ...one, documents: [older] };
      }),
  },
  "an acknowledged write that the log lacks": {
    by: "linearization",
    plant: (history) => {
      const write = history.operations.find(isCommittedPut);
      const messages = history.messages.filter(({ txId }) => txId !== write?.answer.txId);
      return write && { ...history, messages };
    },
  },
  "an aborted write that is acknowledged as committed": {
    by: "linearization",
    plant: (history) =>
      inOperation(history, (operation) => {
        if (operation.kind === "read" || operation.answer.kind !== "outcome") return undefined;
        const { answer } = operation;
        return answer.committed ? undefined : { ...operation, answer: { ...answer, committed: true } };
      }),
  },
};

/** Changes the events of a connection around `at`, the place of two consecutive transactions. */
function inEvents(
  change: (events: readonly WatchedEvent[], at: number) => readonly WatchedEvent[] | undefined,
): PlantedFault {
  const plant = (history: History): History | undefined => {
    for (const [w, watch] of history.watches.entries()) {
      for (const [c, connection] of watch.connections.entries()) {
        const at = connection.events.findIndex(
          (event, n, events) => isPut(event) && isPut(events[n + 1]) && n > 0,
        );
        const events = at < 0 ? undefined : change(connection.events, at);
        if (events === undefined) continue;
        const connections = watch.connections.with(c, { ...connection, events });
        return { ...history, watches: history.watches.with(w, { ...watch, connections }) };
      }
    }
    return undefined;
  };
  return { by: "watch", plant };
}

function isPut(event: WatchedEvent | undefined): boolean {
  return event?.isProgress === false && event.changes.every(({ op }) => op === "put");
}

/** Replaces what a linearizable read found by what an earlier one did, before a write that ended between them. */
function staleRead(isChosen: (read: ReadOperation) => boolean): PlantedFault {
  const plant = (history: History): History | undefined =>
    inOperation(history, (later) => {
      if (later.kind === "write" || later.of !== "linearizable" || !isChosen(later)) return undefined;
      const earlier = history.operations.find(
        (one): one is ReadOperation =>
          one.kind === "read" &&
          one.of === "linearizable" &&
          one.key === later.key &&
          one.namespace === later.namespace &&
          one.documents.length > 0 &&
          history.operations.some(
            (write) =>
              isCommittedPut(write) &&
              write.call > one.return &&
              write.return < later.call &&
              one.documents.some(({ key }) => write.steps.some((step) => step.key === key)),
          ),
      );
      return earlier && { ...later, txId: earlier.txId, documents: earlier.documents };
    });
  return { by: "linearization", plant };
}

/** Changes the documents of a read. */
function inRead(
  of: ReadKind,
  change: (documents: readonly FoundDocument[]) => readonly FoundDocument[],
): PlantedFault {
  const plant = (history: History): History | undefined =>
    inOperation(history, (one) =>
      one.kind === "read" &&
      one.of === of &&
      one.documents.length > 0 &&
      (of === "linearizable" || isPast(one.txId, history))
        ? { ...one, documents: change(one.documents) }
        : undefined,
    );
  return { by: of === "linearizable" ? "linearization" : "serializable", plant };
}

/** Returns whether something was written after a transaction. Otherwise, a read as of it counts as a current one. */
function isPast(txId: number, { operations }: History): boolean {
  return operations.some(
    (one) => one.kind === "read" && one.documents.some(({ revision }) => revision > txId),
  );
}

function neverWritten(document: FoundDocument): FoundDocument {
  return { ...document, value: NEVER_WRITTEN };
}

/** Replaces the first operation for which `change` returns another one. */
function inOperation(
  history: History,
  change: (operation: Operation) => Operation | undefined,
): History | undefined {
  for (const [n, operation] of history.operations.entries()) {
    const changed = change(operation);
    if (changed !== undefined) return { ...history, operations: history.operations.with(n, changed) };
  }
  return undefined;
}

/** Returns whether a client knows that a transaction that puts documents, and does nothing else, committed. */
function isCommittedPut(operation: Operation): operation is AnsweredWrite {
  return (
    operation.kind === "write" &&
    operation.answer.kind === "outcome" &&
    operation.answer.committed &&
    operation.steps.every(({ op }) => op !== "delete")
  );
}
