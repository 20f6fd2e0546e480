const NAMESPACES = ["default", "prod", "test"];
const LARGE_BYTES = 16_384;

/** Returns transactions of random operations. */
export function randomTransactions(pick: (count: number) => number): { readonly ops: readonly unknown[] }[] {
  return Array.from({ length: 20 + pick(60) }, () => ({ ops: operations(pick) }));
}

/** Returns operations on different keys. */
function operations(pick: (count: number) => number): unknown[] {
  const first = pick(30);
  return Array.from({ length: 1 + pick(3) }, (_, index) => {
    const bucket = pick(2) === 0 ? "pods" : "nodes";
    const key = `${NAMESPACES[pick(3)] ?? ""}/k${first + index}`;
    const kind = pick(10);
    if (kind === 0) return ["match", bucket, key, 1_000_000];
    if (kind < 3) return ["delete", bucket, key];
    return ["put", bucket, key, pick(20) === 0 ? "x".repeat(LARGE_BYTES) : pick(1_000)];
  });
}
