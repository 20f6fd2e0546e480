import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** How often bytes pass a slow link (ms). */
const TICK_MS = 10;

/**
 * Starts a link to a service on which every connection carries at most `bytesPerSecond` in each direction, steadily and
 * without a pause. Returns the endpoint. The link is removed at the end of the test.
 */
export async function slowLink(to: string, bytesPerSecond: number): Promise<string> {
  const { hostname, port } = new URL(to);
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const service = connect(Number(port), hostname);
    carry(client, service, bytesPerSecond);
    carry(service, client, bytesPerSecond);
    for (const socket of [client, service]) sockets.add(socket.on("error", () => undefined));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function carry(from: Socket, to: Socket, bytesPerSecond: number): void {
  let last = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    const most = Math.ceil(((now - last) * bytesPerSecond) / 1_000);
    last = now;
    const piece = from.read(Math.min(most, from.readableLength)) as Buffer | null;
    if (piece !== null) to.write(piece);
  }, TICK_MS);
  from.once("close", () => {
    clearInterval(timer);
    to.destroy();
  });
}
