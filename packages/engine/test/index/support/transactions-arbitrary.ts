import fc from "fast-check";
import type { Json, Policies, Transaction, TxOperation } from "@cairn/client";

const bucket = fc.constantFrom("pods", "nodes");
// There are few keys, so that they collide, and they contain the bytes that are most easily ordered wrongly.
const namespace = fc.constantFrom("a", "a!", "a\u0000b", "b", "é");
const name = fc.constantFrom("x", "x/y", "x\u0000", "x\u0001", "\u{10ffff}", "ü", "x ");
const key = fc.tuple(namespace, name).map(([space, rest]) => `${space}/${rest}`);
const document = fc
  .jsonValue({ maxDepth: 2 })
  .map(
    (value) => JSON.parse(JSON.stringify(value), (_, inner: Json) => (isUnsafe(inner) ? 0 : inner)) as Json,
  );

const state = fc.constantFrom<Json>("on", "off", "3", 3, true, "a\u0000b", null, ["on"], { on: 1 });
/** Documents to which policies may apply. */
const record = fc.record(
  { state, node: fc.record({ zone: fc.constantFrom<Json>("x", "x\u0000", 1) }, { requiredKeys: [] }) },
  { requiredKeys: [] },
);
const anyDocument = fc.oneof({ weight: 1, arbitrary: document }, { weight: 2, arbitrary: record });

const write: fc.Arbitrary<TxOperation> = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(fc.constant("put" as const), bucket, key, anyDocument) },
  { weight: 3, arbitrary: fc.tuple(fc.constant("delete" as const), bucket, key) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("evict" as const), bucket, key) },
);
const match: fc.Arbitrary<TxOperation> = fc.tuple(
  fc.constant("match" as const),
  bucket,
  key,
  fc.oneof(fc.constant(null), fc.integer({ min: 1, max: 12 })),
);

const event = fc
  .record(
    {
      object: fc.constantFrom("pods/x", "y"),
      reason: fc.constantFrom("Begun", "Ended"),
      bucket: fc.constantFrom("pods", "nodes"),
      time: fc.constantFrom("0", "2100000000", "2500000000", "3000000001"),
    },
    { requiredKeys: ["object", "reason"] },
  )
  .map((one): TxOperation => ["event", one]);

const rule = fc.record(
  {
    after: fc.constantFrom(1, 300, "PT0.6S"),
    when: fc.constantFrom({ state: "on" }, { state: [3, true], "node.zone": "x" }),
  },
  { requiredKeys: ["after"] },
);
const fields = fc.constantFrom(["state"], ["state", "node.zone"], ["node.zone"]);
const policies: fc.Arbitrary<Policies> = fc.record(
  {
    indexes: fc.record({ pods: fields, nodes: fields }, { requiredKeys: [] }),
    expire: fc.record({ pods: rule, nodes: rule }, { requiredKeys: [] }),
    history: fc.constantFrom({ pods: { keep: 1 } }, { nodes: { for: "PT1S" } }),
    events: fc.constantFrom({ keep: 2 }, { for: "PT0.4S" }, { keep: 3, for: 1000 }),
  },
  { requiredKeys: [] },
);
const configure = fc
  .tuple(
    policies,
    fc.oneof(
      { weight: 5, arbitrary: fc.constant(undefined) },
      fc.constant(null),
      fc.integer({ min: 2, max: 9 }),
    ),
  )
  .map(([value, revision]): TxOperation =>
    revision === undefined ? ["configure", value] : ["configure", value, revision],
  );

/** A valid transaction on few keys. Some have an idempotency id, and some have matches that may fail. */
export const transaction: fc.Arbitrary<Transaction> = fc
  .record({
    writes: fc.uniqueArray(write, {
      minLength: 1,
      maxLength: 4,
      selector: (op) => `${String(op[1])} ${String(op[2])}`,
    }),
    matches: fc.array(match, { maxLength: 1 }),
    events: fc.oneof({ weight: 5, arbitrary: fc.constant([]) }, fc.array(event, { maxLength: 3 })),
    configure: fc.option(configure, { nil: undefined, freq: 5 }),
    id: fc.option(fc.constantFrom("one", "two", "three"), { nil: undefined, freq: 4 }),
  })
  .map(({ writes, matches, events, configure: set, id }) => ({
    ops: [...matches, ...writes, ...events, ...(set === undefined ? [] : [set])],
    ...(id === undefined ? {} : { id }),
  }));

function isUnsafe(value: Json): boolean {
  return Number.isInteger(value) && !Number.isSafeInteger(value);
}
