import { connect } from "nats";
import { startNatsServer } from "../testing/nats-server.ts";
import { openNatsTxLog } from "./tx-log/nats-tx-log.ts";
const N = Number(process.argv[2] ?? 1_000_000);
const mode = process.argv[3] ?? "both";
const server = await startNatsServer();
const log = await openNatsTxLog({ servers: server.url, stream: "bench" });
await log.create((id) => Buffer.from(id));
const payload = Buffer.from(JSON.stringify({ ops: [["put", "b", "ns/name", { v: "x".repeat(300) }]] }).padEnd(339, " "));
let t = performance.now();
{ const pending = new Set<Promise<unknown>>(); let left = N;
  const worker = async () => { while (left-- > 0) await log.append(payload); };
  await Promise.all(Array.from({ length: 2500 }, worker)); void pending; }
console.log("publish/s", Math.round(N / ((performance.now() - t) / 1000)));
const nc = await connect({ servers: server.url });
for (let round = 0; round < 3; round++) {
  if (mode !== "ours") {
  const c = await nc.jetstream().consumers.get("bench");
  t = performance.now(); let n = 0;
  const it = await c.consume({ max_messages: 5000 });
  for await (const m of it) { n++; if (m.info.pending === 0) break; }
  const plain = n / ((performance.now() - t) / 1000);
  console.log("plain ordered/s", Math.round(plain));
  }
  t = performance.now(); let k = 0, arrays = 0, peak = 0;
  for await (const a of log.read(1, { signal: new AbortController().signal })) { k += a.length; arrays++; if (arrays % 100 === 0) peak = Math.max(peak, process.memoryUsage.rss()); if (k >= N + 1) break; }
  const ours = k / ((performance.now() - t) / 1000);
  console.log("ours/s", Math.round(ours), "arrays", arrays, "rss MB", Math.round(peak / 1e6));
}
await nc.close(); await log.close(); await server.close();
