export function isMap(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

/** Returns a member of a map with names from users, and nothing inherited: `constructor` is a valid bucket name. */
export function ownMember<T>(map: { readonly [name: string]: T }, name: string): T | undefined {
  return Object.hasOwn(map, name) ? map[name] : undefined;
}

/** Returns what a map has for a key. If it has nothing, `make` makes it. */
export function madeOnce<K, V>(
  map: { get(key: K): V | undefined; set(key: K, value: V): unknown },
  key: K,
  make: () => V,
): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}

/** Returns an object with some members replaced; all others, present or absent, are its own, so nothing is forgotten. */
export function wrapped<T extends object>(
  object: object,
  own: { readonly [Name in keyof T]?: T[Name] | undefined },
): T {
  // The target is empty, because a proxy must return the members of a frozen target unchanged.
  return new Proxy({} as T, {
    get(_, name) {
      const value: unknown = Reflect.get(Object.hasOwn(own, name) ? own : object, name);
      return typeof value === "function" ? (value.bind(object) as unknown) : value;
    },
  });
}
