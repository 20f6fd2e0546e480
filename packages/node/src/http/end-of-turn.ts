type Task = () => void;

let waiting: Task[] = [];

/**
 * Does something when the event loop has taken in what lies in its sockets, right after what others wait to do then. Answers that leave
 * one right after the other cost half of what they cost one by one: whoever asks is woken by the first, and is still busy with it when
 * the next comes.
 */
export function atEndOfTurn(task: Task): void {
  if (waiting.length === 0) setImmediate(endTurn);
  waiting.push(task);
}

function endTurn(): void {
  const tasks = waiting;
  waiting = [];
  for (const task of tasks) task();
}
