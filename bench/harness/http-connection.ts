import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** Opens a connection, as soon as a server listens on the port. */
export async function openConnection(port: number): Promise<Socket> {
  for (;;) {
    const socket = connect(port, "127.0.0.1").setNoDelay();
    const connected = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true));
      socket.once("error", () => resolve(false));
    });
    if (connected) return socket;
    // The server does not listen yet.
    await delay(20);
  }
}

const LAST_CHUNK = "\r\n0\r\n\r\n";

/** Sends a request and waits for the complete response. Throws if it does not match `expected`. */
export async function sendRequest(
  socket: Socket,
  request: string,
  expected = /^HTTP\/1.1 200/,
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    let text = "";
    let length = -1;
    let isChunked = false;
    const take = (chunk: Buffer): void => {
      text += chunk.toString("latin1");
      const head = text.indexOf("\r\n\r\n");
      if (head < 0) return;
      if (length < 0) {
        const headers = text.slice(0, head);
        isChunked = /transfer-encoding: chunked/i.test(headers);
        length = head + 4 + Number(/content-length: (\d+)/i.exec(headers)?.[1] ?? 0);
      }
      if (text.length < length || (isChunked && !text.endsWith(LAST_CHUNK))) return;
      socket.off("data", take);
      if (expected.test(text)) resolve();
      else reject(new Error(`the response is ${text.slice(0, 200)}`));
    };
    socket.on("data", take);
    socket.write(request);
  });
}
