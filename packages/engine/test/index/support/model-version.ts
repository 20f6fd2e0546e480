import type { Json } from "@cairn/client";

/** A version in the model. */
export interface ModelVersion {
  readonly revision: number;
  readonly time: number;
  readonly document: Json | undefined;
}

/** Compares keys by namespace and then by name, each by its UTF-8 bytes. */
export function compareKeys(left: string, right: string): number {
  const [a, b] = [left, right].map((key) => {
    const slash = key.indexOf("/");
    return [Buffer.from(key.slice(0, slash)), Buffer.from(key.slice(slash + 1))] as const;
  }) as [readonly [Buffer, Buffer], readonly [Buffer, Buffer]];
  return Buffer.compare(a[0], b[0]) || Buffer.compare(a[1], b[1]);
}
