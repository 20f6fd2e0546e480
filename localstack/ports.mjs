// Finds free ports of 127.0.0.1, and waits until a port is in use.
import { randomInt } from "node:crypto";
import { connect, createServer } from "node:net";

/** Returns the wanted port if it is free, or else another free one; 0 requests any free port. */
export async function freePort(wanted) {
  let port = wanted;
  // The range is below the ephemeral ports, which the system could assign to another process before the port is used.
  while (port === 0 || !(await canListen(port))) port = randomInt(12_000, 32_000);
  return port;
}

function canListen(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** Waits until a process listens on the port. Returns false if `ended` resolves first. */
export async function listens(port, ended) {
  for (;;) {
    if (await answers(port)) return true;
    const pause = new Promise((resolve) => {
      setTimeout(resolve, 50, "on");
    });
    if ((await Promise.race([ended, pause])) !== "on") return false;
  }
}

function answers(port) {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    const finish = (answered) => {
      socket.destroy();
      resolve(answered);
    };
    socket.once("connect", () => finish(true));
    socket.once("error", () => finish(false));
  });
}
