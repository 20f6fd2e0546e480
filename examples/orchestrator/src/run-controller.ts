import { Controller, type ControllerOptions } from "./controller.ts";

/**
 * Makes the pods match the deployments, until `signal` is aborted. Any number of controllers may run, but only the one
 * that holds the lease acts. Each of its transactions requires the lease's revision, so that a controller that has lost
 * the lease without noticing changes nothing.
 */
export async function runController(options: ControllerOptions): Promise<void> {
  const { client, signal } = options;
  const controller = new Controller(options);
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const see = async (): Promise<void> => {
    for await (const states of client.follow({ signal: either })) controller.see(states);
  };
  try {
    await Promise.all([see(), controller.act(either)]);
  } catch (error) {
    // If one half fails, the other one also ends.
    failed.abort();
    if (!signal.aborted) throw error;
  }
}
