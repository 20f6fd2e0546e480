import { POSITION_PATTERN } from "@cairn/text";

export type OpenApiObject = { readonly [name: string]: unknown };

export const TX_ID = {
  type: "integer",
  format: "int64",
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
} as const;
export const POSITION = { type: "string", format: "position", pattern: POSITION_PATTERN } as const;
export const TIME = { type: "string", format: "date-time" } as const;
export const TEXT = { type: "string" } as const;
export const FLAG = { type: "boolean" } as const;
export const COUNT = { type: "integer", format: "int64", minimum: 0 } as const;
export const MILLISECONDS = { type: "number", format: "double", minimum: 0 } as const;

export function ref(name: string): OpenApiObject {
  return { $ref: `#/components/schemas/${name}` };
}

/** All properties are required unless `required` lists those that are. */
export function object(
  properties: OpenApiObject,
  required: readonly string[] = Object.keys(properties),
  description?: string,
): OpenApiObject {
  const named = required.length === 0 ? {} : { required };
  return { type: "object", properties, ...named, ...(description === undefined ? {} : { description }) };
}

/** An object that a node rejects if it has any other properties. */
export function closedObject(...given: Parameters<typeof object>): OpenApiObject {
  return { ...object(...given), additionalProperties: false };
}

/** If a node limits the number of bytes, the same number of characters is the upper bound. */
export function boundedText(maxLength: number, minLength = 0): OpenApiObject {
  return { ...TEXT, ...(minLength === 0 ? {} : { minLength }), maxLength };
}

export function oneOf(...texts: readonly string[]): OpenApiObject {
  return { ...TEXT, enum: texts };
}

export function array(items: OpenApiObject): OpenApiObject {
  return { type: "array", items };
}

/** Returns the schema of an object whose properties may have any names and whose values have the schema `values`. */
export function dictionary(values: OpenApiObject): OpenApiObject {
  return { type: "object", additionalProperties: values };
}

export function nullable(schema: OpenApiObject): OpenApiObject {
  return { ...schema, nullable: true };
}

export function described(schema: OpenApiObject, description: string): OpenApiObject {
  return { ...schema, description };
}
