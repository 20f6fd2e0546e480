import { readdir, readFile } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { ROOT } from "@cairn/test-support/cairn-process";

/** Answers a request for an address of the API. */
export type Liar = (address: string, response: ServerResponse) => void;

/** A server that serves the page as a node does, and whose API answers as the test wants. */
export class LyingServer implements AsyncDisposable {
  /** Answers the requests from now on. */
  liar: Liar;
  /** The number of requests to the API. */
  requests = 0;
  readonly #server = createServer();

  private constructor(liar: Liar) {
    this.liar = liar;
  }

  static async start(liar: Liar): Promise<LyingServer> {
    const lying = new LyingServer(liar);
    const folder = path.join(ROOT, "packages/http/dist/bundle/page");
    const files = new Map<string, string>();
    for (const name of await readdir(folder))
      files.set(`/page/${name}`, await readFile(path.join(folder, name), "utf8"));
    lying.#server.on("request", (request, response) => {
      const [address = "/"] = (request.url ?? "/").split("?");
      const file = files.get(address === "/" ? "/page/index.html" : address);
      if (file !== undefined) {
        const type = { html: "text/html", js: "text/javascript", css: "text/css" }[
          address.split(".").at(-1) ?? ""
        ];
        response.setHeader("content-type", `${type ?? "text/html"}; charset=utf-8`).end(file);
        return;
      }
      lying.requests += 1;
      lying.liar(request.url?.includes("history=") === true ? `${address}?history` : address, response);
    });
    await new Promise<void>((resolve) => lying.#server.listen(0, "127.0.0.1", resolve));
    return lying;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Sends a value as JSON. */
export function sendJson(response: ServerResponse, value: unknown, status = 200): void {
  response
    .writeHead(status, { "content-type": "application/json", "cairn-tx": "7", "x-request-id": "1" })
    .end(JSON.stringify(value));
}
