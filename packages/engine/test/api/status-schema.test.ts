import type { ClusterStatus, NodeStatus } from "@cairn/client";
import { expectTypeOf, it } from "vitest";
import type { z } from "zod";
import type { ClusterStatusSchema, StatusSchema } from "../../src/api/status-schema.ts";

type Mutable<T> = T extends readonly (infer E)[]
  ? Mutable<E>[]
  : T extends object
    ? { -readonly [K in keyof T]: Mutable<T[K]> }
    : T;

// The compiler checks this: a member that only the schema requires would make nodes ignore each other's answers.
it("every status is accepted by the schema by which nodes read each other's", () => {
  expectTypeOf<Mutable<NodeStatus>>().toExtend<z.input<typeof StatusSchema>>();
  expectTypeOf<Mutable<ClusterStatus>>().toExtend<z.input<typeof ClusterStatusSchema>>();
});
