import type { FastifyReply } from "fastify";

/** A media range or coding in an Accept header, with its weight. */
interface Accepted {
  readonly name: string;
  readonly q: number;
}

/** Parses a header such as Accept or Accept-Encoding (RFC 9110, 12.4.2 and 12.5) into lower-case names without parameters. */
export function accepted(header: string): Accepted[] {
  return header
    .split(",")
    .map((part): Accepted => {
      const [name = "", ...parameters] = part.split(";").map((one) => one.trim().toLowerCase());
      const weight = parameters.find((one) => one.startsWith("q="))?.slice(2) ?? "1";
      // A malformed weight counts as 0.
      return { name, q: /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(weight) ? Number(weight) : 0 };
    })
    .filter(({ name }) => name !== "");
}

/** Adds a request header to those on which the response depends. */
export function varyBy(reply: FastifyReply, header: string): void {
  const others = reply.getHeader("vary");
  void reply.header("vary", others === undefined ? header : `${String(others)}, ${header}`);
}
