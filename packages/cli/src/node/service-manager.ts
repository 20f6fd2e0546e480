import { spawn } from "node:child_process";
import { once } from "node:events";

/** A change of a service's state, as sd_notify(3) writes it. */
export type ServiceState = "READY=1" | "STOPPING=1";

/**
 * Reports a change of state to systemd if it waits for reports (`Type=notify`), with systemd's own command, because
 * Node has no datagram sockets of the Unix domain. Calls `onFailure` if that fails: the node works nevertheless.
 */
export async function tellServiceManager(
  state: ServiceState,
  env: Readonly<Record<string, string | undefined>>,
  onFailure: (sentence: string) => void,
): Promise<void> {
  if ((env["NOTIFY_SOCKET"] ?? "") === "") return;
  const child = spawn("systemd-notify", [state], { env: { ...env }, stdio: "ignore" });
  // A stopping process does not wait for systemd.
  child.unref();
  const failure = await once(child, "exit").then(
    ([code, signal]: (number | string | null)[]) => (code === 0 ? undefined : String(code ?? signal)),
    (error: Error) => error.message,
  );
  if (failure !== undefined)
    onFailure(
      `systemd was not told ${state}, because systemd-notify failed (${failure}). The unit needs NotifyAccess=all, and systemd-notify on its PATH; Type=exec does without.`,
    );
}
