import { appendFileSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** An own index whose files are one JSON file, and whose queries are what can go wrong. */
export function answeringIndex({ failsToOpen = false }, { dir, readOnly, onNotice }) {
  if (failsToOpen) throw new Error("the file is not a database");
  const { position, rows: stored } = JSON.parse(readFileSync(join(dir, "rows.json"), "utf8"));
  const answer = (rows, columns = ["value"]) => ({ position, columns, rows });
  const two = ["value", "more"];
  const queries = {
    rows: () => answer(stored, two),
    odd: ([columns, rows]) => answer(rows, columns),
    args: (args) => answer([[args]]),
    about: () => answer([[process.pid, readOnly, Object.keys(process.env)]], ["pid", "readOnly", "names"]),
    endless: () =>
      answer(
        (function* () {
          for (let row = 0; ; row += 1) yield [row];
        })(),
      ),
    later: async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return answer(
        (async function* () {
          yield* stored;
        })(),
        two,
      );
    },
    wide: ([rows, bytes]) =>
      answer(
        Array.from({ length: rows }, (_, row) => [row, "é".repeat(bytes / 2)]),
        two,
      ),
    notice: () => {
      onNotice("something to know");
      return answer([]);
    },
    loop: () => {
      for (let turns = 0; ; turns += 1) if (turns < 0) return answer([]);
    },
    ready: () => {
      process.send?.("ready");
      return answer([[process.send !== undefined]]);
    },
    busy: ([ms]) => {
      const until = performance.now() + ms;
      while (performance.now() < until);
      return answer([]);
    },
    note: ([file]) => {
      appendFileSync(file, "n");
      return answer([]);
    },
    abort: () => {
      process.stderr.write("these are the last words\n");
      process.abort();
    },
    memory: () => {
      const held = [];
      for (;;) held.push({ held: held.length });
    },
    native: () => {
      const held = [];
      for (;;) held.push(Buffer.alloc(16 << 20, 1));
    },
    fails: () => {
      throw new Error("the disk image is malformed");
    },
  };
  return { query: ({ text, args }) => queries[text](args), close: () => undefined };
}

export const silentIndex = () => ({ close: () => undefined });
