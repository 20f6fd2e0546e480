import { BUCKETS } from "./cluster-state.ts";
import { Controller, type ControllerOptions } from "./controller.ts";
import { follow } from "./follow.ts";

/**
 * Makes pods what deployments say, until `signal` is aborted. Any number may run; the one that has the lease acts. Each of its
 * transactions insists on the lease's revision, so one that lost it without knowing does nothing, however late it wakes.
 */
export async function runController(options: ControllerOptions): Promise<void> {
  const { client, signal, onFollowed } = options;
  const controller = new Controller(options);
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const see = async (): Promise<void> => {
    for await (const followed of follow(client, BUCKETS, either)) {
      onFollowed?.(followed);
      controller.see(followed);
    }
  };
  try {
    await Promise.all([see(), controller.act(either)]);
  } catch (error) {
    // Whichever half fails ends the other one.
    failed.abort();
    if (!signal.aborted) throw error;
  }
}
