/**
 * The verb and path of each operation.
 * @type {Record<keyof import("./openapi.js").operations, [string, string]>}
 */
export const operations: Record<keyof import("./openapi.js").operations, [string, string]>;
