/**
 * Returns the URL of an address with one of these schemes. Undefined if it is none, if it has parameters or a fragment,
 * which nothing reads, and if an @ after the host shows that a slash in a password, which is not percent-encoded, made a
 * part of the password the host.
 */
export function addressUrl(address: string, ...schemes: readonly string[]): URL | undefined {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url === undefined || !schemes.includes(url.protocol.slice(0, -1))) return undefined;
  return url.pathname.includes("@") || url.search + url.hash !== "" ? undefined : url;
}

/** Returns the URL of a server on this machine, because not every system can connect to a wildcard address. */
export function localUrl(host: string, port: number, isEncrypted: boolean): string {
  const reachable = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
  const named = reachable.includes(":") ? `[${reachable}]` : reachable;
  return `${isEncrypted ? "https" : "http"}://${named}:${port}`;
}
