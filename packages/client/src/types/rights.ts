/** A right of a token. Every route requires exactly one (openapi/route.ts of @cairn/http). */
export type Right = "read" | "write" | "observe" | "operate";

/** All rights, as `auth-token` has them. */
export const ALL_RIGHTS: readonly Right[] = ["read", "write", "observe", "operate"];

/** Returns whether a token with the configured `rights` has `right`: operating includes observing. */
export function includesRight(rights: readonly Right[], right: Right): boolean {
  return rights.includes(right) || (right === "observe" && rights.includes("operate"));
}
