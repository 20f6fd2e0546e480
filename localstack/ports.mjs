// Ports of 127.0.0.1.
import { randomInt } from "node:crypto";
import { connect, createServer } from "node:net";

/** The wanted port if nobody listens on it, else one that is free; 0 wants any. */
export async function freePort(wanted) {
  let port = wanted;
  // Below the ports that systems hand out by themselves: one of those could be somebody's before it is used.
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

/** Waits until somebody listens; false when `ended` comes first. */
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
