/** A part of an OpenAPI document, or a JSON Schema in one. */
export type OpenApiObject = { readonly [name: string]: unknown };

/** A transaction's id. */
export const TX_ID = {
  type: "integer",
  format: "int64",
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
} as const;
/** ISO-8601, in UTC. */
export const TIME = { type: "string", format: "date-time" } as const;
/** Any text. */
export const TEXT = { type: "string" } as const;
/** True or false. */
export const FLAG = { type: "boolean" } as const;
/** How many. */
export const COUNT = { type: "integer", format: "int64", minimum: 0 } as const;
/** How large. */
export const BYTES = { type: "integer", format: "int64", minimum: 0 } as const;
/** How long. */
export const MILLISECONDS = { type: "number", format: "double", minimum: 0 } as const;

/** An object with these properties; all are there unless `required` says which. */
export function object(
  properties: OpenApiObject,
  required: readonly string[] = Object.keys(properties),
): OpenApiObject {
  return required.length === 0 ? { type: "object", properties } : { type: "object", properties, required };
}

/** Text of at most so many characters; what says how many bytes it has means at most that. */
export function text(maxLength: number, minLength = 0): OpenApiObject {
  return { type: "string", ...(minLength === 0 ? {} : { minLength }), maxLength };
}

/** The same object, and nothing besides: what a node refuses to be sent. */
export function closed(schema: OpenApiObject): OpenApiObject {
  return { ...schema, additionalProperties: false };
}

/** An array of it. */
export function array(items: OpenApiObject): OpenApiObject {
  return { type: "array", items };
}

/** An object that has anything of this kind under names of its own. */
export function mapOf(values: OpenApiObject): OpenApiObject {
  return { type: "object", additionalProperties: values };
}

/** The same, or null. */
export function nullable(schema: OpenApiObject): OpenApiObject {
  return { ...schema, nullable: true };
}
