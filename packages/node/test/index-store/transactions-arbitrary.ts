import fc from "fast-check";
import type { Json, Transaction, TxOperation } from "../../src/tx-log/transaction.ts";

const bucket = fc.constantFrom("pods", "nodes");
// Few keys, so that they meet; with the bytes that an order by bytes gets wrong most easily.
const namespace = fc.constantFrom("a", "a!", "a\u0000b", "b", "é");
const name = fc.constantFrom("x", "x/y", "x\u0000", "x\u0001", "\u{10ffff}", "ü", "x ");
const key = fc.tuple(namespace, name).map(([space, rest]) => `${space}/${rest}`);
const document = fc
  .jsonValue({ maxDepth: 2 })
  .map(
    (value) => JSON.parse(JSON.stringify(value), (_, inner: Json) => (isUnsafe(inner) ? 0 : inner)) as Json,
  );

const write: fc.Arbitrary<TxOperation> = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(fc.constant("put" as const), bucket, key, document) },
  { weight: 3, arbitrary: fc.tuple(fc.constant("delete" as const), bucket, key) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("evict" as const), bucket, key) },
);
const match: fc.Arbitrary<TxOperation> = fc.tuple(
  fc.constant("match" as const),
  bucket,
  key,
  fc.oneof(fc.constant(null), fc.integer({ min: 1, max: 12 })),
);

/** A valid transaction on few keys; some with an idempotency id, some with matches that may fail. */
export const transaction: fc.Arbitrary<Transaction> = fc
  .record({
    writes: fc.uniqueArray(write, { minLength: 1, maxLength: 4, selector: (op) => `${op[1]} ${op[2]}` }),
    matches: fc.array(match, { maxLength: 1 }),
    id: fc.option(fc.constantFrom("one", "two", "three"), { nil: undefined, freq: 4 }),
  })
  .map(({ writes, matches, id }) => ({
    ops: [...matches, ...writes],
    ...(id === undefined ? {} : { id }),
  }));

function isUnsafe(value: Json): boolean {
  return Number.isInteger(value) && !Number.isSafeInteger(value);
}
