import { createServer, request as send } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

/** An action of a proxy on a request: forward it, refuse it, or forward it and lose all or part of the response. */
export type Mishap = "none" | "refuse" | "lose-answer" | "cut-answer";

/** A proxy in front of a node. `mishap` determines what happens to each request. */
export interface FlakyProxy {
  readonly url: string;
  mishap: (request: { readonly method: string; readonly path: string }) => Mishap;
  /** The requests received. */
  readonly requests: string[];
}

/** Starts a proxy in front of the node at `target`. The proxy is closed after the test. */
export async function startFlakyProxy(target: string): Promise<FlakyProxy> {
  const requests: string[] = [];
  const server = createServer((incoming, outgoing) => {
    const { method = "", url: path = "" } = incoming;
    requests.push(`${method} ${path}`);
    const mishap = proxy.mishap({ method, path });
    if (mishap === "refuse") {
      incoming.socket.destroy();
      return;
    }
    const passed = send(target + path, { method, headers: incoming.headers, agent: false }, (answer) => {
      if (mishap === "lose-answer") {
        // The node has executed the request, but its response is lost.
        answer.resume().once("end", () => outgoing.socket?.destroy());
        return;
      }
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
      if (mishap === "cut-answer") {
        outgoing.write("[", () => outgoing.socket?.destroy());
        answer.resume();
      } else answer.pipe(outgoing);
    });
    passed.once("error", () => outgoing.destroy());
    outgoing.once("close", () => passed.destroy());
    incoming.pipe(passed);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(
    () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  const { port } = server.address() as AddressInfo;
  const proxy: FlakyProxy = { url: `http://127.0.0.1:${port}`, mishap: () => "none", requests };
  return proxy;
}
