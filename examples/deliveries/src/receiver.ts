import { createServer, type Server } from "node:http";

/** Starts a receiver that responds to every fifth request with 503. Calls `onReceived` with the names of the others. */
export function startReceiver(port: number, onReceived: (name: string) => void): Server {
  let requests = 0;
  return createServer((request, response) => {
    requests += 1;
    request.resume();
    const fails = requests % 5 === 0;
    if (!fails) onReceived(String(request.headers["idempotency-key"]));
    response.writeHead(fails ? 503 : 204).end();
  }).listen(port, "127.0.0.1");
}
