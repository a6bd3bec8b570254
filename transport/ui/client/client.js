// @ts-check
// A client of Lamplight's HTTP API for browsers and for Node.js 18 and above. operations.js and openapi.d.ts are generated from
// transport/rest/openapi.yaml; client.d.ts is made of this file.
import { operations } from "./operations.js";

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
  constructor(code, text, envelope) {
    super(text);
    this.name = "Failed";
    this.code = code;
    this.envelope = envelope;
  }
}

/** Lamplight makes requests of one node. Any node of a cluster will do. */
export class Lamplight {
  /** @param {{ base?: string, token?: string, timeout?: number }} options base: such as http://127.0.0.1:8000; "": the server of the page. timeout: milliseconds for one request */
  constructor({ base = "", token = "", timeout = 15000 } = {}) {
    this.base = base;
    this.token = token;
    this.timeout = timeout;
  }

  /**
   * Makes a request and returns the answer as it comes, whatever its status. Use it for the stream of events; call is for all else.
   * @template {keyof Operations} Id
   * @param {Id} id the operationId of openapi.yaml
   * @param {Arguments<Id>} args
   * @returns {Promise<Response>}
   */
  request(id, args) {
    const [method, template] = operations[id];
    const names = /** @type {Record<string, string | number | boolean>} */ (args.path ?? {});
    const path = template.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(names[name]));
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(args.query ?? {})) {
      const parts = value instanceof Object ? Object.entries(value) : [[name, value]]; // filters: an object of parameters
      for (const [n, v] of parts) if (v !== undefined && v !== null) query.append(String(n), String(v));
    }
    /** @type {RequestInit} */
    const init = { method, cache: "no-store", signal: args.signal, headers: this.token ? { "X-Auth-Token": this.token, ...args.headers } : args.headers };
    if (args.data !== undefined) init.body = JSON.stringify({ data: args.data });
    return fetch(this.base + path + (query.size ? `?${query}` : ""), init);
  }

  /**
   * Makes a request and returns its envelope. An answer other than success is thrown as a Failed.
   * @template {keyof Operations} Id
   * @param {Id} id the operationId of openapi.yaml
   * @param {Arguments<Id>} args
   * @returns {Promise<Answer<Id>>}
   */
  async call(id, args) {
    let answer, envelope;
    try {
      answer = await this.request(id, { signal: AbortSignal.timeout(this.timeout), ...args });
      envelope = await answer.json();
    } catch {
      throw new Failed(0, "The node does not answer.");
    }
    if (!answer.ok) throw new Failed(answer.status, envelope.data?.message ?? envelope.message ?? String(answer.status), envelope);
    return envelope;
  }
}
