import type { Right } from "@cairn/client/protocol";
import { afterEach, expect, it, vi } from "vitest";
import { Permit } from "../../src/permits/permit.ts";
import { Tickets } from "../../src/permits/tickets.ts";
import { serve, type ServedNode } from "@cairn/test-support/nodes/served-node";

const RIGHTS: readonly Right[] = ["read"];
const TOKENS = [{ name: "page", source: { text: "page" }, rights: RIGHTS, buckets: ["orders"] }];
const AS_PAGE = { authorization: "Bearer page" };

async function ticketOf(served: ServedNode): Promise<string> {
  const answer = await served.fetch("/api/v1/watch/tickets", { method: "POST", headers: AS_PAGE });
  expect([answer.status, answer.headers.get("cache-control")]).toEqual([201, "no-store"]);
  return ((await answer.json()) as { ticket: string }).ticket;
}

afterEach(() => vi.useRealTimers());

it("a ticket permits one watch without a header, within the limits of its token", async () => {
  await using served = await serve({ tokens: TOKENS });
  served.node.watched = async function* () {
    yield [{ type: "heartbeat", txId: 0, txTime: null, position: "0" }];
  };
  const ticket = await ticketOf(served);
  const first = await served.fetch(`/api/v1/watch?bucket=orders&ticket=${ticket}`);
  expect([first.status, await first.text()]).toEqual([200, expect.stringContaining("heartbeat")]);
  const second = await served.fetch(`/api/v1/watch?bucket=orders&ticket=${ticket}`);
  expect(second.status).toBe(401);
  expect(await second.json()).toMatchObject({
    error: { code: "UNAUTHORIZED", hint: expect.stringContaining("POST /api/v1/watch/tickets") as string },
  });
  const outside = await served.fetch(`/api/v1/watch?bucket=people&ticket=${await ticketOf(served)}`);
  expect(outside.status).toBe(403);
});

it("a ticket opens nothing but a watch", async () => {
  await using served = await serve({ tokens: TOKENS });
  const ticket = await ticketOf(served);
  for (const path of ["/api/v1/orders", "/api/v1/orders/default/a", "/status", "/api/v1/watch/tickets"])
    expect((await served.fetch(`${path}?ticket=${ticket}`)).status).toBe(401);
  expect((await served.fetch("/api/v1/watch?bucket=orders&ticket=guess")).status).toBe(401);
});

it("a ticket expires after 60 s, and with its token", () => {
  vi.useFakeTimers({ toFake: ["performance", "Date"] });
  const tickets = new Tickets();
  const permit = new Permit({ rights: RIGHTS });
  const inTime = tickets.issue(permit);
  const late = tickets.issue(permit);
  expect(inTime.expiresAt).toBe(new Date(Date.now() + 60_000).toISOString());
  vi.advanceTimersByTime(59_999);
  expect(tickets.redeem(inTime.ticket)).toBe(permit);
  expect(tickets.redeem(inTime.ticket)).toBeUndefined();
  vi.advanceTimersByTime(1);
  expect(tickets.redeem(late.ticket)).toBeUndefined();
  const revoked = tickets.issue(permit);
  permit.revoke();
  expect(tickets.redeem(revoked.ticket)).toBeUndefined();
});

it("a node keeps a bounded number of tickets, of which it drops the oldest", () => {
  const tickets = new Tickets();
  const permit = new Permit({ rights: RIGHTS });
  const issued = Array.from({ length: 10_001 }, () => tickets.issue(permit).ticket);
  expect(tickets.redeem(issued[0] ?? "")).toBeUndefined();
  expect(tickets.redeem(issued[1] ?? "")).toBe(permit);
  expect(tickets.redeem(issued.at(-1) ?? "")).toBe(permit);
});
