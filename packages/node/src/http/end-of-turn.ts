let turn: Promise<void> | undefined;

/**
 * Resolves when the event loop has taken in what lies in its sockets, for all who wait at once. Answers that leave one right after the
 * other cost half of what they cost one by one: whoever asks is woken by the first, and is still busy with it when the next comes.
 */
export function endOfTurn(): Promise<void> {
  turn ??= new Promise((resolve) => {
    setImmediate(() => {
      turn = undefined;
      resolve();
    });
  });
  return turn;
}
