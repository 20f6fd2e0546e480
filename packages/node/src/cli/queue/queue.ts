import { commandGroup } from "../options/command-options.ts";
import { addQueueDrain } from "./queue-drain.ts";
import { addQueueEnqueue } from "./queue-enqueue.ts";
import { addQueueList, addQueueShow } from "./queue-show.ts";

export const addQueue = commandGroup("queue", "Show queues, enqueue entries, or drain a shard", [
  addQueueList,
  addQueueShow,
  addQueueEnqueue,
  addQueueDrain,
]);
