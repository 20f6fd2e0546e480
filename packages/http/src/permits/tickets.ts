import { createHash, randomBytes } from "node:crypto";
import type { Permit } from "./permit.ts";

const VALID_FOR_MS = 60_000;
/** The maximum number of tickets. If there are more, the oldest are dropped. */
const MAX_TICKETS = 10_000;
const TICKET_BYTES = 32;

/** Tickets stand for tokens that EventSource cannot send. Each is valid once, because proxies log addresses. */
export class Tickets {
  /** The permits and the times of expiry, by the digest of the ticket, oldest first. */
  readonly #issued = new Map<string, { readonly permit: Permit; readonly expiresAt: number }>();

  issue(permit: Permit): { readonly ticket: string; readonly expiresAt: string } {
    this.#dropExpired();
    const ticket = randomBytes(TICKET_BYTES).toString("base64url");
    this.#issued.set(digestOf(ticket), { permit, expiresAt: performance.now() + VALID_FOR_MS });
    return { ticket, expiresAt: new Date(Date.now() + VALID_FOR_MS).toISOString() };
  }

  /** Returns the permit of a valid ticket, and invalidates it. The lookup is by digest, so its time reveals nothing. */
  redeem(ticket: string): Permit | undefined {
    const digest = digestOf(ticket);
    const found = this.#issued.get(digest);
    this.#issued.delete(digest);
    if (found === undefined || found.expiresAt <= performance.now() || found.permit.isRevoked)
      return undefined;
    return found.permit;
  }

  #dropExpired(): void {
    const now = performance.now();
    for (const [digest, { expiresAt }] of this.#issued) {
      if (expiresAt > now && this.#issued.size < MAX_TICKETS) return;
      this.#issued.delete(digest);
    }
  }
}

function digestOf(ticket: string): string {
  return createHash("sha256").update(ticket).digest("base64url");
}
