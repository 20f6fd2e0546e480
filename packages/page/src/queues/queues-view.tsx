import type { QueueShard, QueueStatus } from "@cairn/client";
import { addressOf } from "../data/place.ts";
import { type PolledRequest, usePolled } from "../data/polled.ts";
import { Panel, Understood } from "../parts/panel.tsx";
import { Table } from "../parts/tables.tsx";
import { count, counted, numberOf, words } from "../text/amounts.ts";
import { instant, localTime } from "../text/times.ts";

const QUEUES: PolledRequest<readonly QueueStatus[]> = {
  path: "api/v1/queues?stale=true",
  form: "list",
  everyMs: () => 2_000,
};
const COLUMNS = ["Shard", "State", "Entries", "Open", "Epoch", "Holder", "Until"];

/** All queues with their shards, their holders, and the ends of their leases. */
export function QueuesView() {
  const queues = usePolled(QUEUES);
  return (
    <Panel id="queues" title="Queues" source={queues} aside={counted(queues.value?.length, "queue")}>
      {(all) =>
        all.length === 0 ? (
          <p class="quiet">There are no queues. A policy makes an empty bucket a queue.</p>
        ) : (
          all.map((queue, at) => (
            <Understood key={at} answer={queue}>
              {() => <Queue queue={queue} />}
            </Understood>
          ))
        )
      }
    </Panel>
  );
}

function Queue({ queue: { name, entries, open, spare, policy, shards } }: { readonly queue: QueueStatus }) {
  const bucket = words(name);
  return (
    <article data-queue={bucket}>
      <h3>
        <a href={addressOf("browse", { bucket })}>{bucket}</a>
      </h3>
      <p>
        {count(open)} open of {count(entries)} entries, in {counted(shards.length, "shard")}; {count(spare)}{" "}
        spare. A shard takes up to {count(policy.cap)}.
      </p>
      {shards.length === 0 ? null : (
        <Table caption={`The shards of ${bucket} that are not spare`} columns={COLUMNS}>
          {shards.map((shard) => (
            <ShardRow key={shard.shard} shard={shard} cap={policy.cap} />
          ))}
        </Table>
      )}
    </article>
  );
}

function ShardRow({ shard, cap }: { readonly shard: QueueShard; readonly cap: number }) {
  const { shard: number, state, entries, open, epoch, holder } = shard;
  return (
    <tr data-shard={number} data-state={words(state)}>
      <th scope="row" class="number">
        {count(number)}
      </th>
      <td>{words(state)}</td>
      <td class="number">
        {count(entries)}{" "}
        <meter
          min={0}
          max={numberOf(cap)}
          value={numberOf(entries)}
          aria-label={`${count(entries)} of ${count(cap)}`}
        />
      </td>
      <td class="number">{count(open)}</td>
      <td class="number">{epoch === null ? "" : count(epoch)}</td>
      <td class="name">{holder === null ? <span class="quiet">unclaimed</span> : words(holder.as)}</td>
      <td>{holder === null ? "" : localTime(instant(holder.until))}</td>
    </tr>
  );
}
