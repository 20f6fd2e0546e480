/** Returns the content of the index at a transaction. */
export function filesAt(txId: number): Record<string, Buffer> {
  return {
    CURRENT: Buffer.from(`MANIFEST-${txId}\n`),
    "000001.ldb": Buffer.alloc(100_000, `transaction ${txId} `),
    "000002.ldb": Buffer.alloc(30_000 + txId, `rest ${txId} `),
  };
}
