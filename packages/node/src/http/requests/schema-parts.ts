/** A part of an OpenAPI document, or a JSON Schema in one. */
export type OpenApiObject = { readonly [name: string]: unknown };

/** A transaction id. */
export const TX_ID = {
  type: "integer",
  format: "int64",
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
} as const;
/** An ISO 8601 time in UTC. */
export const TIME = { type: "string", format: "date-time" } as const;
/** Any string. */
export const TEXT = { type: "string" } as const;
/** True or false. */
export const FLAG = { type: "boolean" } as const;
/** A count. */
export const COUNT = { type: "integer", format: "int64", minimum: 0 } as const;
/** A number of bytes. */
export const BYTES = COUNT;
/** A duration in milliseconds. */
export const MILLISECONDS = { type: "number", format: "double", minimum: 0 } as const;

/** Returns a reference to the schema `name` of the document's components. */
export function ref(name: string): OpenApiObject {
  return { $ref: `#/components/schemas/${name}` };
}

/**
 * Returns the schema of an object with these properties. All of them are required unless `required` lists those that
 * are.
 */
export function object(
  properties: OpenApiObject,
  required: readonly string[] = Object.keys(properties),
): OpenApiObject {
  return required.length === 0 ? { type: "object", properties } : { type: "object", properties, required };
}

/**
 * Returns the schema of a string of `minLength` to `maxLength` characters. If a node limits the number of bytes, the
 * same number of characters is the upper bound.
 */
export function boundedText(maxLength: number, minLength = 0): OpenApiObject {
  return { ...TEXT, ...(minLength === 0 ? {} : { minLength }), maxLength };
}

/** Returns the schema of a string that is one of `texts`. */
export function oneOf(...texts: readonly string[]): OpenApiObject {
  return { ...TEXT, enum: texts };
}

/** Returns an object schema that allows no other properties, for objects that a node rejects if they have any. */
export function withoutOthers(schema: OpenApiObject): OpenApiObject {
  return { ...schema, additionalProperties: false };
}

/** Returns the schema of an array of `items`. */
export function array(items: OpenApiObject): OpenApiObject {
  return { type: "array", items };
}

/** Returns the schema of an object whose properties may have any names and whose values have the schema `values`. */
export function dictionary(values: OpenApiObject): OpenApiObject {
  return { type: "object", additionalProperties: values };
}

/** Returns the schema extended to allow null. */
export function nullable(schema: OpenApiObject): OpenApiObject {
  return { ...schema, nullable: true };
}

/** Returns the schema with a description. */
export function described(schema: OpenApiObject, description: string): OpenApiObject {
  return { ...schema, description };
}
