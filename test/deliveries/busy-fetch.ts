// Makes handlers that send something compute afterwards: node --import ./busy-fetch.js PROGRAM
const MAX_BUSY_MS = Number(process.env["CAIRN_BUSY_MS"] ?? "0");
/** The part of deliveries that compute. */
const BUSY_PART = 0.02;
const { fetch: send } = globalThis;

globalThis.fetch = async (...call) => {
  const response = await send(...call);
  // Nodes are asked without this header.
  if (new Headers(call[1]?.headers).has("idempotency-key") && Math.random() < BUSY_PART) {
    const end = performance.now() + Math.random() * MAX_BUSY_MS;
    while (performance.now() < end);
  }
  return response;
};
