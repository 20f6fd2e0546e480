import { connect, type Socket } from "node:net";
import { readFile } from "node:fs/promises";
import { connect as connectTls } from "node:tls";
import { setTimeout as delay } from "node:timers/promises";

/**
 * Opens a connection, as soon as a server listens on the port. `cert` is the file of the server's certificate if the
 * connection is encrypted.
 */
export async function openConnection(port: number, cert?: string): Promise<Socket> {
  const ca = cert === undefined ? undefined : await readFile(cert);
  for (;;) {
    const socket =
      ca === undefined ? connect(port, "127.0.0.1") : connectTls({ port, host: "127.0.0.1", ca });
    socket.setNoDelay();
    const connected = await new Promise<boolean>((resolve) => {
      socket.once(ca === undefined ? "connect" : "secureConnect", () => resolve(true));
      socket.once("error", () => resolve(false));
    });
    if (connected) return socket;
    // The server does not listen yet.
    await delay(20);
  }
}

const LAST_CHUNK = "\r\n0\r\n\r\n";

/**
 * Sends a request and waits for the complete response, which it passes to `onAnswer`. Throws if the response does not
 * match `expected`.
 */
export async function sendRequest(
  socket: Socket,
  request: string,
  expected = /^HTTP\/1.1 200/,
  onAnswer: (answer: string) => void = () => {},
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
      onAnswer(text);
      if (expected.test(text)) resolve();
      else reject(new Error(`the response is ${text.slice(0, 200)}`));
    };
    socket.on("data", take);
    socket.write(request);
  });
}
