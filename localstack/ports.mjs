// Ports of 127.0.0.1.
import { connect, createServer } from "node:net";

/** The wanted port if nobody listens on it, else one that is free. */
export async function freePort(wanted) {
  return (await canListen(wanted)) ?? (await canListen(0));
}

function canListen(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen(port, "127.0.0.1", () => {
      const found = server.address().port;
      server.close(() => resolve(found));
    });
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
