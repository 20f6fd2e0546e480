// @module-tag nats
import path from "node:path";
import { CHECKPOINT_PREFIX, type CheckpointStore, filesystemStore } from "@cairn/checkpoint";
import { faultyStore, unreachable } from "@cairn/checkpoint/testing";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { logWithBackup } from "../../src/backup/log-with-backup.ts";
import { JoinSources } from "../../src/join/join-sources.ts";
import { NatsOperator } from "@cairn/log-nats/testing";
import { BackupScene } from "@cairn/test-support/nodes/backup-scene";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { hurryClock } from "@cairn/test-support/nodes/hurried-clock";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

beforeEach(hurryClock);

type Condition = "well" | "unreachable" | "silent";

/** A folder that can stop responding. */
class Mirror {
  condition: Condition = "well";
  /** The number of times that its checkpoints were listed. */
  looks = 0;
  /** Called at each of these times, before the listing. */
  onLook: () => void = () => undefined;
  readonly store: CheckpointStore;

  constructor(folder: string) {
    this.store = faultyStore(filesystemStore({ path: folder }), {
      before: ({ method, name }) => {
        if (method === "list" && name === CHECKPOINT_PREFIX) {
          this.looks += 1;
          this.onLook();
        }
        return this.condition === "silent" ? new Promise(() => undefined) : Promise.resolve();
      },
      fail: () => (this.condition === "unreachable" ? unreachable() : undefined),
    });
  }
}

const NEW_CHECKPOINT = "checkpoint-7-2026-11-20T05-00-00.000Z-0123abcd.json";

describe("a node that waits for another checkpoint", () => {
  let scene: BackupScene;
  let mirror: Mirror;
  let sources: JoinSources;
  const stop = new AbortController();
  const changed = () => sources.changed([scene.store, mirror.store], stop.signal);
  beforeEach(async () => {
    scene = await BackupScene.open();
    await scene.append("a", "b");
    await scene.look();
    mirror = new Mirror(path.join(scene.folder, "mirror"));
    sources = new JoinSources(scene.log, logWithBackup(scene.log, [scene.store, mirror.store]));
    // The first look has nothing to be compared with.
    await changed();
  });
  afterEach(() => scene.close());

  // A look waits five seconds for a silent store.
  describe.each<[Condition, string[]]>([
    ["unreachable", []],
    ["silent", ["rest/slow"]],
  ])("while another one of its stores is %s", (condition, tags) => {
    it.each([
      ["checkpoint", () => scene.store.create(NEW_CHECKPOINT, "{}")],
      ["segment", () => nextSegment()],
    ])("finds a new %s", { tags }, async (_, add) => {
      mirror.condition = condition;
      await add();
      await changed();
    });
  });

  async function nextSegment(): Promise<void> {
    await scene.append("c");
    await scene.look();
  }

  it("does not join again because a store went away, or came back as it was", async () => {
    let isOver = false;
    const waiting = changed().then(() => (isOver = true));
    const looks = async (more: number): Promise<void> => {
      const wanted = mirror.looks + more;
      await vi.waitFor(() => expect(mirror.looks).toBeGreaterThanOrEqual(wanted));
    };
    mirror.condition = "unreachable";
    await looks(1);
    mirror.condition = "well";
    await looks(2);
    expect(isOver).toBe(false);
    await mirror.store.create(NEW_CHECKPOINT, "{}");
    await waiting;
  });
});

it(
  "a node whose log was trimmed joins from a checkpoint that is saved while another of its stores is away",
  { tags: "rest/slow" },
  async () => {
    const scene = await ClusterScene.open();
    onTestFinished(() => scene.close());
    const a = await scene.ready("a");
    const last = await put(a, 0, 5, "v");
    await NatsOperator.at(scene.nats.url, async (nats) => await nats.purgeBefore(last));
    const mirror = new Mirror(path.join(scene.folder, "mirror"));
    const site = filesystemStore({ path: path.join(scene.folder, "checkpoints") });
    const b = await scene.start("b", {
      parts: { checkpointer: undefined, restoreFrom: [site, mirror.store] },
    });
    // It has failed twice by then, so this is a look and not an attempt to join.
    mirror.onLook = () => {
      if (b.phase === "failed" && mirror.looks > 5) mirror.condition = "unreachable";
    };
    await vi.waitFor(() => expect(mirror.condition).toBe("unreachable"));
    expect((await b.status()).failure).toMatchObject({ code: "LOG_TRIMMED" });
    await saveCheckpoint(a);
    await vi.waitFor(() => expect(b.phase).toBe("ready"));
    expect((await b.status()).join.restoredFrom).toMatchObject({ store: site.location, txId: last });
  },
);
