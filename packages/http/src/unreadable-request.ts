import type { Socket } from "node:net";
import { systemErrorCode } from "@cairn/kv";
import { JSON_TYPE, jsonText } from "./answers/answer.ts";
import { BAD_REQUEST, RequestError } from "./answers/request-error.ts";
import { closeAfterAnswer } from "./answers/unread-body.ts";
import type { Connections } from "./connections.ts";
import { pacedBody } from "./requests/paced-body.ts";
import { newRequestId } from "./requests/request-head.ts";

/**
 * Responds to bytes that are not a valid HTTP request, and to requests that arrive too slowly. If a route processes the
 * body, the route responds, because only it knows what it has processed.
 */
export function answerUnreadable(error: Error, socket: Socket, connections: Connections): void {
  const code = systemErrorCode(error);
  if (code === "ECONNRESET") return void socket.destroy();
  const request = connections.arriving(socket);
  const body = request === undefined ? undefined : pacedBody(request);
  if (request === undefined || body === undefined) {
    connections.refuse(socket, () => respond(socket, UNREADABLE[code ?? ""] ?? notHttp(error)));
  } else if (code === REQUEST_TIMEOUT) {
    // The body has its own limit. Node has now ended its limit, which the rest of the body would need after an error.
    closeAfterAnswer(request);
  } else {
    const { status, message, hint } = UNREADABLE[code ?? ""] ?? notHttp(error);
    body.refuse(new RequestError(BAD_REQUEST, message, { status: Number.parseInt(status, 10), hint }));
  }
}

/** Responds to CONNECT. Node passes on its socket instead of a request. */
export function answerConnect(socket: Socket, connections: Connections): void {
  socket.on("error", () => socket.destroy());
  connections.refuse(socket, () => respond(socket, NOT_HTTP));
}

function respond(socket: Socket, { status, message, hint }: Unreadable): void {
  if (!socket.writable) return void socket.destroy();
  const body = jsonText({ error: { code: BAD_REQUEST, message, hint } });
  socket.write(
    `HTTP/1.1 ${status}\r\nContent-Type: ${JSON_TYPE}\r\nConnection: close\r\n` +
      `Date: ${new Date().toUTCString()}\r\nX-Request-Id: ${newRequestId()}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

interface Unreadable {
  readonly status: string;
  readonly message: string;
  readonly hint: string;
}

const NOT_HTTP = {
  status: "400 Bad Request",
  message: "The request is not valid HTTP.",
  hint: "Send a whole HTTP request with a method that GET /openapi.json lists for its address, with all characters outside ASCII escaped (ü as %C3%BC, a space as %20). A node with TLS requires an address that begins with https. A node is not a proxy.",
};

/** The parser names what it expected, such as `Duplicate Content-Length`. */
function notHttp({ reason }: Error & { readonly reason?: unknown }): Unreadable {
  if (typeof reason !== "string") return NOT_HTTP;
  return { ...NOT_HTTP, message: `The request is not valid HTTP: ${reason}.` };
}

/** The code of Node's error for a request that takes too long to arrive. */
const REQUEST_TIMEOUT = "ERR_HTTP_REQUEST_TIMEOUT";

/** The responses to requests that Node's parser rejects, by the parser's error codes. */
const UNREADABLE: Record<string, Unreadable | undefined> = {
  HPE_HEADER_OVERFLOW: {
    status: "431 Request Header Fields Too Large",
    message: "The request's headers or address are too long.",
    hint: "Send fewer and shorter headers, such as cookies, which the node does not need, and a shorter address.",
  },
  [REQUEST_TIMEOUT]: {
    status: "408 Request Timeout",
    message: "The request did not arrive in time.",
    hint: "Send the request again. Nothing was done, because it had not arrived completely.",
  },
};
