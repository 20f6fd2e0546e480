import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { CheckpointStore } from "@cairn/checkpoint";
import { s3Store, type S3StoreOptions } from "@cairn/checkpoint-s3";
import { testS3 } from "@cairn/localstack";
import { onTestFinished } from "vitest";

/** Access to an S3 service through a gate. */
export interface S3Rights {
  readonly put: boolean;
  readonly delete: boolean;
}

/** A request that passed a gate, or was denied. */
export interface GateRequest {
  readonly kind: "list" | "get" | "head" | "put" | "post" | "delete";
  readonly key: string;
}

/** A gate to one bucket. Requests without the permission are denied, and listings come in pages. */
export interface S3Gate {
  readonly asked: GateRequest[];
  store(options?: Partial<S3StoreOptions>): CheckpointStore;
}

/** The permissions of a node that writes, and of one that only reads. */
export const ALL: S3Rights = { put: true, delete: true };
export const GET_AND_LIST: S3Rights = { put: false, delete: false };

/**
 * Starts the small S3 service, which is stopped at the end of the test. Returns a function that creates gates to its
 * bucket.
 */
export async function s3Service(
  options: { readonly conditions?: boolean } = {},
): Promise<(rights: S3Rights, keysPerPage?: number) => Promise<S3Gate>> {
  // The gate changes requests, which a service that checks signatures would detect.
  const s3 = await testS3({ env: {}, ...options });
  onTestFinished(() => s3.close());
  const { port: upstream } = new URL(s3.endpoint);
  return async (rights, keysPerPage = 1_000) => {
    const asked: GateRequest[] = [];
    const pass = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
      const { method = "GET", headers } = incoming;
      const url = new URL(incoming.url ?? "/", s3.endpoint);
      const key = decodeURIComponent(url.pathname.split("/").slice(2).join("/"));
      const kind = method === "GET" && key === "" ? "list" : method.toLowerCase();
      asked.push({ kind: kind as GateRequest["kind"], key });
      const isDenied =
        method === "DELETE" ? !rights.delete : !rights.put && method !== "GET" && method !== "HEAD";
      if (isDenied) {
        incoming.resume();
        outgoing.writeHead(403, { "content-type": "application/xml" });
        outgoing.end("<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>");
        return;
      }
      if (kind === "list") url.searchParams.set("max-keys", String(keysPerPage));
      const onward = request(
        { host: "127.0.0.1", port: upstream, method, path: `${url.pathname}${url.search}`, headers },
        (answer) => {
          outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
          answer.pipe(outgoing);
        },
      );
      onward.on("error", () => outgoing.destroy());
      incoming.pipe(onward);
    };
    const server = createServer(pass);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    return {
      asked,
      store(more = {}) {
        const { bucket, region, credentials } = s3;
        const endpoint = `http://127.0.0.1:${port}`;
        const store = s3Store({ bucket, region, credentials, endpoint, prefix: "a/b", ...more });
        onTestFinished(() => store.close());
        return store;
      },
    };
  };
}
