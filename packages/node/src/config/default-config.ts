import { join } from "node:path";
import { DEFAULT_ORIGIN } from "./source/config-tree.ts";
import type { ConfigEntry, ConfigNode, MapNode } from "./source/config-tree.ts";

/** What counts for top-level keys that no file and no object gives. `dir` is the node's folder, `nats` whether NATS_URL is set. */
export function defaultTree(given: ReadonlySet<string>, dir: string, nats: boolean): MapNode {
  const log = nats ? "cairn.nats/->tx-log" : "cairn.embedded/->tx-log";
  const whole = map({
    "cairn/node": map({}),
    "cairn/tx-log": map({ "cairn/module": text(log) }),
    "cairn/index-store": map({
      "kv-store": map({
        "cairn/module": text("cairn.leveldb/->kv-store"),
        checkpointer: map({
          "cairn/module": text("cairn.checkpoint/->checkpointer"),
          store: map({
            "cairn/module": text("cairn.checkpoint/->filesystem-checkpoint-store"),
            path: text(join(dir, "checkpoints")),
          }),
          "approx-frequency": text("PT6H"),
        }),
      }),
    }),
    "cairn/http-server": map({}),
  });
  return { ...whole, entries: whole.entries.filter((entry) => !given.has(entry.name)) };
}

function map(values: Readonly<Record<string, ConfigNode>>): MapNode {
  const entries = Object.entries(values).map(([name, value]): ConfigEntry => ({
    name,
    nameOrigin: DEFAULT_ORIGIN,
    value,
  }));
  return { type: "map", entries, origin: DEFAULT_ORIGIN };
}

function text(value: string): ConfigNode {
  return { type: "string", text: value, origin: DEFAULT_ORIGIN };
}
