import type { ListedCheckpoint, NodeStatus } from "@cairn/client";
import type { Polled } from "../data/polled.ts";
import { Fact, Mark } from "../parts/marks.tsx";
import { Panel } from "../parts/panel.tsx";
import { Table } from "../parts/tables.tsx";
import { amountOfBytes, count, numberOf, span, UNKNOWN, words } from "../text/amounts.ts";
import { instant, localTime } from "../text/times.ts";
import { yesOrNo } from "./log-panel.tsx";

const COLUMNS = ["Checkpoint", "Transaction", "Taken", "Size", "Took", "By", "Verified", "Kept"];
const MAX_ROWS = 50;

interface StoreProps {
  readonly checkpoints: Polled<readonly ListedCheckpoint[]>;
  readonly status: Polled<NodeStatus>;
}

/** The store: what this node found there at its last look, and each checkpoint with the reason why it stays. */
export function StorePanel({ checkpoints, status }: StoreProps) {
  return (
    <Panel id="store" title="Checkpoint store" source={checkpoints} aside={totals(checkpoints.value)}>
      {(all) => (
        <>
          <StoreFacts status={status.value} isReachable={checkpoints.failure === undefined} />
          <Table caption="The checkpoints in the store, newest first" columns={COLUMNS}>
            {all.slice(0, MAX_ROWS).map((checkpoint) => (
              <CheckpointRow key={checkpoint.name} checkpoint={checkpoint} />
            ))}
          </Table>
          {all.length > MAX_ROWS ? (
            <p class="quiet">{count(all.length - MAX_ROWS)} older ones are not shown.</p>
          ) : null}
        </>
      )}
    </Panel>
  );
}

function totals(checkpoints: readonly ListedCheckpoint[] | undefined): string {
  if (checkpoints === undefined) return UNKNOWN;
  const bytes = checkpoints.reduce((sum, checkpoint) => sum + numberOf(checkpoint?.bytes), 0);
  return `${count(checkpoints.length)} with ${amountOfBytes(bytes)}`;
}

function StoreFacts({
  status,
  isReachable,
}: {
  readonly status: NodeStatus | undefined;
  readonly isReachable: boolean;
}) {
  if (status === undefined) return null;
  const { store, lastCheckAt, nextCheckAt, running, skipped } = status.checkpoints;
  const { logBackup } = status;
  return (
    <dl>
      <Fact name="Answers">{yesOrNo(isReachable)}</Fact>
      <Fact name="Last look">{localTime(instant(lastCheckAt))}</Fact>
      <Fact name="Next look">{localTime(instant(nextCheckAt))}</Fact>
      <Fact name="Now">
        {running === null
          ? words(skipped?.because ?? "waiting for the next look")
          : `${words(running.step)}, ${amountOfBytes(running.bytes)}`}
      </Fact>
      {store === null ? null : (
        <>
          <Fact name="Location">{words(store.location)}</Fact>
          <Fact name="Exclusive writes">{yesOrNo(store.exclusive)}</Fact>
          <Fact name="May delete">{yesOrNo(store.canDelete)}</Fact>
        </>
      )}
      {logBackup === null || logBackup === undefined ? null : (
        <Fact name="Log backup">
          {count(logBackup.segments)} segments with {amountOfBytes(logBackup.bytes)};{" "}
          {count(logBackup.exposed.transactions)} transactions are not in it yet
        </Fact>
      )}
    </dl>
  );
}

function CheckpointRow({ checkpoint }: { readonly checkpoint: ListedCheckpoint }) {
  const { name, txId, takenAt, bytes, durationMs, node, verifiedAt, verifiedBy, damaged, kept } = checkpoint;
  return (
    <tr class={damaged === true ? "damaged" : ""} data-checkpoint={words(name)}>
      <th scope="row">
        <code title={words(name)}>{words(name).split("-").at(-1)}</code>
      </th>
      <td class="number">{count(txId)}</td>
      <td>{localTime(instant(takenAt))}</td>
      <td class="number">{amountOfBytes(bytes)}</td>
      <td class="number">{span(durationMs)}</td>
      <td>{words(node)}</td>
      <td>
        {damaged === true ? (
          <>
            <Mark state="failing" /> damaged
          </>
        ) : typeof verifiedAt === "string" ? (
          <>
            <Mark state="healthy" /> {localTime(instant(verifiedAt))} by {words(verifiedBy)}
          </>
        ) : (
          "not yet"
        )}
      </td>
      <td class="reason">{keptText(kept)}</td>
    </tr>
  );
}

function keptText(kept: ListedCheckpoint["kept"]): string {
  if (kept === null || kept === undefined || typeof kept !== "object") return UNKNOWN;
  return `${kept.keep ? "yes" : "no"}: ${words(kept.because)}`;
}
