/** Returns a member of a map with names from users, and nothing inherited: `constructor` is a valid bucket name. */
export function ownMember<T>(map: { readonly [name: string]: T }, name: string): T | undefined {
  return Object.hasOwn(map, name) ? map[name] : undefined;
}
