import type { ClientTransaction, Json } from "@cairn/client";
import { useState } from "preact/hooks";
import { addressOf, goTo } from "../data/place.ts";
import { useFollowed } from "../data/followed.ts";
import { Mark } from "../parts/marks.tsx";
import { count, words } from "../text/amounts.ts";
import { instant, localTime } from "../text/times.ts";

/** The number of changes that are kept, and the number of characters of a document that is shown. */
const MAX_CHANGES = 200;
const MAX_CHARACTERS = 300;

interface ShownChange {
  readonly id: string;
  readonly txId: number;
  readonly txTime: string;
  readonly op: string;
  readonly bucket: string;
  readonly namespace: string;
  readonly name: string;
  readonly document: string;
}

/** The changes of a bucket, or of all, as they are made. */
export function WatchView({ parameters }: { readonly parameters: Readonly<Record<string, string>> }) {
  const { bucket, namespace } = parameters;
  return <Changes key={`${bucket}/${namespace}`} bucket={bucket} namespace={namespace} />;
}

interface Filter {
  readonly bucket: string | undefined;
  readonly namespace: string | undefined;
}

function Changes({ bucket, namespace }: Filter) {
  const [changes, setChanges] = useState<readonly ShownChange[]>([]);
  const [pausedAt, setPausedAt] = useState<number | undefined>();
  const [isPaused, setIsPaused] = useState(false);
  const { position, interruption } = useFollowed(
    { bucket, namespace, from: pausedAt, isOn: !isPaused },
    (transaction) => setChanges((before) => [...shown(transaction), ...before].slice(0, MAX_CHANGES)),
  );
  return (
    <section class="panel" aria-labelledby="watch-title">
      <header>
        <h2 id="watch-title">Changes as they are made</h2>
        <span class="aside">{isPaused ? "paused" : `up to transaction ${count(position)}`}</span>
      </header>
      <FilterForm bucket={bucket} namespace={namespace} />
      <p>
        <button
          type="button"
          aria-pressed={isPaused}
          onClick={() => {
            setPausedAt(position);
            setIsPaused(!isPaused);
          }}
        >
          {isPaused ? "Continue" : "Pause"}
        </button>{" "}
        <button type="button" class="plain" onClick={() => setChanges([])}>
          Clear
        </button>{" "}
        <span class="quiet">The newest {MAX_CHANGES} changes are kept. A pause misses nothing.</span>
      </p>
      {interruption === undefined ? null : (
        <p class="problem" role="status">
          <Mark state="attention" /> The watch was interrupted: {interruption}
        </p>
      )}
      <div class="changes" role="log" aria-label="Changes, newest first" tabIndex={0}>
        <ol>
          {changes.map((change) => (
            <li key={change.id}>
              <time dateTime={change.txTime}>{localTime(instant(change.txTime))}</time>
              <span class="number">{count(change.txId)}</span>
              <strong class={change.op}>{change.op}</strong>
              <a
                href={addressOf("browse", {
                  bucket: change.bucket,
                  namespace: change.namespace,
                  name: change.name,
                })}
              >
                {change.bucket} {change.namespace}/{change.name}
              </a>
              <code>{change.document}</code>
            </li>
          ))}
        </ol>
      </div>
      {changes.length === 0 ? <p class="quiet">No change has been made since this view was opened.</p> : null}
    </section>
  );
}

function FilterForm({
  bucket = "",
  namespace = "",
}: { readonly [key in keyof Filter]?: string | undefined }) {
  return (
    <form
      class="filters"
      onSubmit={(event) => {
        event.preventDefault();
        const given = new FormData(event.currentTarget);
        goTo(
          addressOf("watch", {
            bucket: String(given.get("bucket")),
            namespace: String(given.get("namespace")),
          }),
        );
      }}
    >
      <label>
        Bucket <input name="bucket" defaultValue={bucket} placeholder="all" />
      </label>
      <label>
        Namespace <input name="namespace" defaultValue={namespace} placeholder="all" />
      </label>
      <button type="submit">Watch</button>
    </form>
  );
}

function shown({ txId, txTime, changes }: ClientTransaction<Json>): ShownChange[] {
  return changes
    .map(({ op, bucket, namespace, name, document }, index) => ({
      id: `${txId} ${index}`,
      txId,
      txTime: words(txTime),
      op: words(op),
      bucket: words(bucket),
      namespace: words(namespace),
      name: words(name),
      document: document === undefined ? "" : shortened(JSON.stringify(document)),
    }))
    .toReversed()
    .slice(0, MAX_CHANGES);
}

function shortened(text: string): string {
  return text.length <= MAX_CHARACTERS ? text : `${text.slice(0, MAX_CHARACTERS)} …`;
}
