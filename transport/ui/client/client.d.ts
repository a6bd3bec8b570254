/** @typedef {import("./openapi.js").operations} Operations */
/** @typedef {import("./openapi.js").components["schemas"]} Schemas */
/**
 * What an operation of openapi.yaml takes: the names in its path, its query, and the value of `data` in its body.
 * @template {keyof Operations} Id
 * @typedef {Pick<Operations[Id]["parameters"], "path"> & Partial<Pick<Operations[Id]["parameters"], "query">> & { data?: Data<Id>, signal?: AbortSignal, headers?: Record<string, string> }} Arguments
 */
/**
 * The value of `data` in the body of an operation.
 * @template {keyof Operations} Id
 * @typedef {Operations[Id] extends { requestBody?: { content: { "application/json": { data?: infer D } } } } ? D : never} Data
 */
/**
 * The body of an operation's answer of success. Its `data` is what was asked for.
 * @template {keyof Operations} Id
 * @typedef {Operations[Id]["responses"] extends { 200: { content: { "application/json": infer A } } } ? A : Operations[Id]["responses"] extends { 201: { content: { "application/json": infer A } } } ? A : never} Answer
 */
/** The error of an answer other than success. After the code 0 or 503 a change may have happened or not. */
export class Failed extends Error {
    /**
     * @param {number} code the HTTP status; 0: no node answered
     * @param {string} text what was wrong
     * @param {Schemas["Error"]=} envelope the answer
     */
    constructor(code: number, text: string, envelope?: Schemas["Error"] | undefined);
    code: number;
    envelope: {
        auth_token: string;
        data: {
            [key: string]: unknown;
        };
        error: "400" | "401" | "403" | "404" | "405" | "409" | "413" | "429" | "503";
        message: string;
        node: string;
        request_id: string;
        status: "error";
        timestamp: string;
        version: string;
    } | undefined;
}
/** Lamplight makes requests of one node. Any node of a cluster will do. */
export class Lamplight {
    /** @param {{ base?: string, token?: string, timeout?: number }} options base: such as http://127.0.0.1:8000; "": the server of the page. timeout: milliseconds for one request */
    constructor({ base, token, timeout }?: {
        base?: string;
        token?: string;
        timeout?: number;
    });
    base: string;
    token: string;
    timeout: number;
    /**
     * Makes a request and returns the answer as it comes, whatever its status. Use it for the stream of events; call is for all else.
     * @template {keyof Operations} Id
     * @param {Id} id the operationId of openapi.yaml
     * @param {Arguments<Id>} args
     * @returns {Promise<Response>}
     */
    request<Id extends keyof Operations>(id: Id, args: Arguments<Id>): Promise<Response>;
    /**
     * Makes a request and returns its envelope. An answer other than success is thrown as a Failed.
     * @template {keyof Operations} Id
     * @param {Id} id the operationId of openapi.yaml
     * @param {Arguments<Id>} args
     * @returns {Promise<Answer<Id>>}
     */
    call<Id extends keyof Operations>(id: Id, args: Arguments<Id>): Promise<Answer<Id>>;
}
export type Operations = import("./openapi.js").operations;
export type Schemas = import("./openapi.js").components["schemas"];
/**
 * What an operation of openapi.yaml takes: the names in its path, its query, and the value of `data` in its body.
 */
export type Arguments<Id extends keyof Operations> = Pick<Operations[Id]["parameters"], "path"> & Partial<Pick<Operations[Id]["parameters"], "query">> & {
    data?: Data<Id>;
    signal?: AbortSignal;
    headers?: Record<string, string>;
};
/**
 * The value of `data` in the body of an operation.
 */
export type Data<Id extends keyof Operations> = Operations[Id] extends {
    requestBody?: {
        content: {
            "application/json": {
                data?: infer D;
            };
        };
    };
} ? D : never;
/**
 * The body of an operation's answer of success. Its `data` is what was asked for.
 */
export type Answer<Id extends keyof Operations> = Operations[Id]["responses"] extends {
    200: {
        content: {
            "application/json": infer A;
        };
    };
} ? A : Operations[Id]["responses"] extends {
    201: {
        content: {
            "application/json": infer A;
        };
    };
} ? A : never;
