import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import type { CheckpointStore } from "@cairn/checkpoint";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { restore, sweep } from "@cairn/test-support/stores/rounds";
import { s3FaultProxy } from "./support/s3-fault-proxy.ts";
import { s3Places } from "./support/s3-place.ts";
import { testSource } from "@cairn/test-support/stores/test-source";

const CHILD = fileURLToPath(new URL("../dist/test/support/s3-saving-child.js", import.meta.url));
const BYTES = 40_000_000;
const LEASE_MS = 12_000;
/** A grace period (ms) that is negative, so that every upload counts as old enough, even if the clocks differ. */
const NO_GRACE = -60_000;

const place = s3Places();

/** A bucket in which a killed node has left an upload. */
interface Abandoned {
  readonly store: CheckpointStore;
  readonly dir: string;
  /** Returns the names of everything in the bucket, in order. */
  lying(): Promise<string[]>;
}

/** Kills a node in the middle of an upload. */
async function killInUpload(): Promise<Abandoned> {
  const { s3, prefix, store, lying } = place();
  const dir = await temporaryDirectory();
  const proxy = await s3FaultProxy({ to: s3.endpoint });
  let parts = 0;
  const uploading = new Promise<void>((resolve) => {
    proxy.plan = ({ kind }) => {
      if (kind !== "part") return undefined;
      parts += 1;
      if (parts < 3) return undefined;
      resolve();
      return "no answer";
    };
  });
  const options = { ...s3, prefix, endpoint: proxy.endpoint };
  const asked = JSON.stringify({ store: options, dir, bytes: BYTES, leaseMs: LEASE_MS });
  const child = spawn(process.execPath, [CHILD, asked], { stdio: ["ignore", "inherit", "inherit"] });
  const exited = once(child, "exit");
  onTestFinished(() => void child.kill("SIGKILL"));
  await Promise.race([uploading, exited]);
  child.kill("SIGKILL");
  expect(await exited).toEqual([null, "SIGKILL"]);
  return { store: store(), dir, lying: async () => (await lying(proxy.begun)).toSorted() };
}

/** Expects that a sweep leaves the upload alone, as long as the lease of the killed node is valid. */
async function expectKept({ store, lying }: Abandoned): Promise<void> {
  const left = [expect.stringMatching(/^checkpoint-.*\.tar\?uploads$/), "in-progress-log-a.json"];
  expect(await lying()).toEqual(left);
  await sweep(store, testSource("other"), { orphanGraceMs: NO_GRACE });
  expect(await lying()).toEqual(left);
}

test("the upload of a killed node is kept while its lease is valid", { tags: "rest/slow" }, async () => {
  await expectKept(await killInUpload());
});

test(
  "the upload of a killed node is aborted by the first sweep after the end of its lease",
  { tags: "rest/slow" },
  async () => {
    const abandoned = await killInUpload();
    await expectKept(abandoned);
    const { store, dir, lying } = abandoned;
    // The time is by the service's clock, which is the clock of another process.
    await expect
      .poll(
        async () => {
          await sweep(store, testSource("other"), { orphanGraceMs: NO_GRACE });
          return (await lying()).filter((name) => name.endsWith("?uploads"));
        },
        { timeout: 60_000, interval: 200 },
      )
      .toEqual([]);
    expect((await restore([store], dir)).restored).toBeUndefined();
  },
);
