/**
 * Returns a member of a map whose names come from users; undefined if the map has none of this name. Reading the member
 * directly would also find what every object inherits: `constructor`, for example, is a valid name of a bucket.
 */
export function ownMember<T>(map: { readonly [name: string]: T }, name: string): T | undefined {
  return Object.hasOwn(map, name) ? map[name] : undefined;
}
