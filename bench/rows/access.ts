import { join } from "node:path";
import { run } from "../harness/command.ts";
import { readOverHttp } from "../harness/http-reads.ts";
import { ratioTarget, type Row } from "../harness/row.ts";
import type { Access } from "../steps/http-reads.ts";

const COUNT = 20_000;
const READS = 100_000;

const PLAIN = "cairn";
const TOKEN = "cairn, with a token";
const TLS = "cairn, with TLS";
const BOTH = "cairn, with both";
const CONSTANT = "fastify, a constant";
const CONSTANT_TLS = "fastify, a constant with TLS";

/** The cost of TLS and of tokens. */
export const access: Row = {
  name: "access",
  title: "documents read over HTTP on 32 connections, with TLS and with a token",
  async prepare(workspace) {
    const dir = workspace.fresh("access");
    await workspace.run("make executions", { dir, count: COUNT, each: 500, indexed: false });
    const tls = { cert: join(dir, "cert.pem"), key: join(dir, "key.pem") };
    await makeCertificate(tls);
    const token = "0123456789abcdef".repeat(4);
    const read = (server: object, credentials: Access) => () =>
      readOverHttp(
        workspace,
        { ...server, access: credentials },
        { count: COUNT, reads: READS, access: credentials },
      );
    return {
      contestants: [
        { name: PLAIN, run: read({ dir }, {}) },
        { name: TOKEN, run: read({ dir }, { token }) },
        { name: TLS, run: read({ dir }, { tls }) },
        { name: BOTH, run: read({ dir }, { tls, token }) },
        { name: CONSTANT, run: read({}, {}) },
        { name: CONSTANT_TLS, run: read({}, { tls }) },
      ],
      targets: [
        ratioTarget("server cpu us each", TOKEN, PLAIN, { atMost: 1.05 }),
        ratioTarget("server cpu us each", TLS, PLAIN, { atMost: 1.3 }),
        ratioTarget("server cpu us each", BOTH, PLAIN),
        ratioTarget("server cpu us each", CONSTANT_TLS, CONSTANT),
      ],
    };
  },
};

/** Creates a certificate for 127.0.0.1 that is valid for a day. */
async function makeCertificate({
  cert,
  key,
}: {
  readonly cert: string;
  readonly key: string;
}): Promise<void> {
  const create =
    "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=bench -addext subjectAltName=IP:127.0.0.1";
  await run("openssl", [...create.split(" "), "-keyout", key, "-out", cert]);
}
