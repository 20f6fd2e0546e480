import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isCairnError, levelProvider, type KvOperation } from "@cairn/kv";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import { startNode } from "@cairn/node";
import type { CrashState } from "./crash-states.ts";
import { putState } from "./crash-states.ts";

/** Returns the configuration of the node that scenes start in `folder`. */
export function nodeConfig(folder: string): object {
  return {
    "cairn/node": { dir: folder, id: "n" },
    "cairn/tx-log": { "cairn/module": "cairn.embedded/->tx-log", path: join(folder, "log") },
    "cairn/index-store": {
      "kv-store": {
        "cairn/module": "cairn.leveldb/->kv-store",
        "db-dir": join(folder, "index"),
        checkpointer: {
          "cairn/module": "cairn.checkpoint/->checkpointer",
          store: {
            "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store",
            path: join(folder, "checkpoints"),
          },
          "approx-frequency": "PT6H",
        },
      },
    },
    "cairn/http-server": null,
  };
}

/** Returns message `n`. All messages differ and, like Cairn's own messages, contain no zero byte. */
export function payload(n: number, size: number): Buffer {
  return Buffer.from(`${n}:`.padEnd(size, `message ${n} `));
}

/**
 * Returns a batch of the index's scene: the rows from `from` up to but not including `to`, and the new number of rows.
 */
export function rows(from: number, to: number): KvOperation[] {
  const added = Array.from({ length: to - from }, (_, n) =>
    put(`row ${from + n}`, `${from + n}`.padEnd(300, "v")),
  );
  return [...added, put("count", String(to))];
}

/**
 * The checks of each scene's folder after a power loss. Each returns a summary, and throws if acknowledged data is
 * lost.
 */
export const ORACLES: Readonly<Record<string, (folder: string, told: readonly string[]) => Promise<string>>> =
  {
    async log(folder, told) {
      const stored = newest(told, "stored");
      const trimmed = newest(told, "trimmed");
      const notices: string[] = [];
      const log = await openEmbeddedTxLog({
        path: join(folder, "deep", "log"),
        onNotice: (notice) => notices.push(notice),
      });
      try {
        if (!(await log.exists())) {
          if (stored > 0) throw new Error(`nothing is left of ${stored} messages`);
          await log.create(() => payload(1, 100));
        }
        const { first, last } = await log.bounds();
        if (last < stored) throw new Error(`${last} messages are left of ${stored}`);
        if (first < trimmed) throw new Error(`the messages starting with ${first} exist again`);
        for (let position = first; position <= last; position += 1) {
          const found = Buffer.from((await log.fetch(position))?.payload ?? []);
          if (!found.equals(payload(position, found.length)) || found.length === 0)
            throw new Error(`message ${position} is a different one`);
        }
        const next = await log.append(payload(last + 1, 10));
        if (next.position !== last + 1) throw new Error("it does not continue");
      } finally {
        await log.close();
      }
      return notices.length === 0 ? "whole" : "cut";
    },

    async index(folder, told) {
      try {
        const store = await levelProvider().open(join(folder, "index"));
        try {
          const count = Number(Buffer.from((await store.get(Buffer.from("count"))) ?? []).toString());
          if (count < newest(told, "stored")) throw new Error(`${count} rows are left`);
          let found = 0;
          for await (const page of store.range({ gte: Buffer.from("row "), lt: Buffer.from("row!") }))
            found += page.length;
          if (found !== count) throw new Error(`${found} rows of ${count}`);
        } finally {
          await store.close();
        }
        return "prefix";
      } catch (error) {
        // A node moves such an index aside and builds another one.
        if (isCairnError(error, "INDEX_CORRUPT")) return "moved aside";
        throw error;
      }
    },

    async node(folder, told) {
      const node = await startNode(nodeConfig(folder), { env: {} });
      try {
        await within(node.ready, async () => JSON.stringify((await node.status()).failure));
        for (let n = 1; n <= newest(told, "put"); n += 1) {
          const document = await node.get({ bucket: "docs", namespace: "default", name: `d${n}` });
          if (document === undefined) throw new Error(`document ${n} is lost`);
        }
        const listed = (await node.checkpoints()).map(({ name }) => name);
        for (const line of told) {
          const name = /^saved (.+)$/.exec(line)?.[1];
          if (name !== undefined && !listed.includes(name)) throw new Error(`checkpoint ${name} is lost`);
        }
        for (const name of listed) await node.verifyCheckpoint(name);
        const { movedAside } = (await node.status()).join;
        return movedAside.length === 0 ? "whole" : "moved aside";
      } finally {
        await node.close();
      }
    },
  };

/** Returns the result of a scene's oracle for a state. */
export async function judge(scene: string, { files, told }: CrashState): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "cairn-power-"));
  try {
    await mkdir(join(folder, "root"));
    await putState(files, join(folder, "root"));
    return (await ORACLES[scene]?.(join(folder, "root"), told)) ?? "";
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function within(done: Promise<void>, why: () => Promise<string>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => void why().then((text) => reject(new Error(`it is not ready: ${text}`)), reject),
      20_000,
    );
  });
  try {
    await Promise.race([done, late]);
  } finally {
    clearTimeout(timer);
  }
}

function newest(told: readonly string[], what: string): number {
  const line = told.findLast((one) => one.startsWith(`${what} `));
  return line === undefined ? 0 : Number(line.slice(what.length + 1));
}

function put(key: string, value: string): KvOperation {
  return { type: "put", key: Buffer.from(key), value: Buffer.from(value) };
}
