import type { ClientChange, ClientTransaction, Position } from "@cairn/client";
import { useState } from "preact/hooks";
import { addressOf, type ViewProps } from "../data/place.ts";
import { useFollowed } from "../data/followed.ts";
import { FilterForm } from "../parts/filter-form.tsx";
import { Mark } from "../parts/marks.tsx";
import { count, words } from "../text/amounts.ts";
import { instant, localTime } from "../text/times.ts";

/** The number of changes that are kept, and the number of characters of a document that is shown. */
const MAX_CHANGES = 200;
const MAX_CHARACTERS = 300;

type ShownChange = ClientChange & {
  readonly id: string;
  readonly txId: number;
  readonly txTime: string;
};

const FIELDS = [
  { name: "bucket", label: "Bucket", placeholder: "all" },
  { name: "namespace", label: "Namespace", placeholder: "all" },
];

/** The changes of a bucket, or of all, as they are made. */
export function WatchView({ parameters }: ViewProps) {
  return <Changes key={JSON.stringify(parameters)} parameters={parameters} />;
}

function Changes({ parameters }: ViewProps) {
  const { bucket, namespace } = parameters;
  const [changes, setChanges] = useState<readonly ShownChange[]>([]);
  const [pausedAt, setPausedAt] = useState<Position | undefined>();
  const [isPaused, setIsPaused] = useState(false);
  const { place: reached, interruption } = useFollowed(
    { bucket, namespace, from: pausedAt, isOn: !isPaused },
    (transaction) => setChanges((before) => [...shown(transaction), ...before].slice(0, MAX_CHANGES)),
  );
  return (
    <section class="panel" aria-labelledby="watch-title">
      <header>
        <h2 id="watch-title">Changes as they are made</h2>
        <span class="aside">{isPaused ? "paused" : `up to transaction ${count(reached?.txId)}`}</span>
      </header>
      <FilterForm view="watch" parameters={parameters} fields={FIELDS} action="Watch" />
      <p>
        <button
          type="button"
          aria-pressed={isPaused}
          onClick={() => {
            setPausedAt(reached?.position);
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
          {changes.map(({ id, txId, txTime, op, bucket: group, namespace: place, name, document }) => (
            <li key={id}>
              <time dateTime={words(txTime)}>{localTime(instant(txTime))}</time>
              <span class="number">{count(txId)}</span>
              <strong class={words(op)}>{words(op)}</strong>
              <a
                href={addressOf("browse", {
                  bucket: words(group),
                  namespace: words(place),
                  name: words(name),
                })}
              >
                {words(group)} {words(place)}/{words(name)}
              </a>
              <code>{document === undefined ? "" : shortened(JSON.stringify(document))}</code>
            </li>
          ))}
        </ol>
      </div>
      {changes.length === 0 ? <p class="quiet">No change has been made since this view was opened.</p> : null}
    </section>
  );
}

function shown({ txId, txTime, changes }: ClientTransaction): ShownChange[] {
  return changes.map((change, index) => ({ id: `${txId} ${index}`, txId, txTime, ...change })).toReversed();
}

function shortened(text: string): string {
  return text.length <= MAX_CHARACTERS ? text : `${text.slice(0, MAX_CHARACTERS)} …`;
}
