// @ts-check
// Requests to the HTTP API, through the client that openapi.yaml is the source of. The token is kept in this module's memory and, only if the user
// asks for it, in sessionStorage. It is sent in a header and never stands in a URL.
import { Failed, Lamplight } from "./client.js";
import { md5 } from "./md5.js";

const kept = "lamplight-token";
const lamplight = new Lamplight({ token: sessionStorage.getItem(kept) ?? "" });

export const loggedIn = () => lamplight.token !== "";

export function forget() {
  lamplight.token = "";
  sessionStorage.removeItem(kept);
}

/**
 * remember keeps a token.
 * @param {string} token
 * @param {unknown} keep also in sessionStorage
 */
function remember(token, keep) {
  lamplight.token = token;
  if (keep) sessionStorage.setItem(kept, token);
}

// account returns the account that the token is for.
export function account() {
  try {
    const claims = lamplight.token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(atob(claims)).account_id;
  } catch {
    return undefined;
  }
}

export const accounts = async () => (await lamplight.call("listAccounts", {})).data;
export const cluster = async () => (await lamplight.call("showCluster", { query: { watchers: true } })).data;

/**
 * events opens the stream of an account's lamps.
 * @param {string} accountID
 * @param {AbortSignal} signal
 * @param {string} last the last id that came, or ""
 */
export const events = (accountID, signal, last) =>
  lamplight.request("watchLamps", { path: { account_id: accountID }, signal, headers: last ? { "Last-Event-ID": last } : {} });

/**
 * explain asks for an extension and why its lamp is as it is.
 * @param {string} accountID
 * @param {string} extension
 */
export const explain = (accountID, extension) =>
  lamplight.call("getExtension", { path: { account_id: accountID, extension }, query: { explain: true } });

/**
 * command sets or resets an extension.
 * @param {string} accountID
 * @param {string} extension
 * @param {import("./client.js").Data<"commandExtension">} data
 */
export const command = (accountID, extension, data) => lamplight.call("commandExtension", { path: { account_id: accountID, extension }, data });

/**
 * logIn exchanges what the user gave for a token.
 * @param {FormData} form
 */
export async function logIn(form) {
  const text = (/** @type {string} */ name) => String(form.get(name)).trim();
  forget();
  if (form.get("how") === "token") {
    remember(text("token"), form.get("keep"));
    if (!account()) {
      forget();
      throw new Failed(401, "This is no token of Lamplight's.");
    }
    try {
      await lamplight.call("getAbout", {});
    } catch (err) {
      forget();
      throw err;
    }
    return;
  }
  let answer;
  if (form.get("how") === "key") {
    answer = await lamplight.call("logInWithApiKey", { data: { api_key: text("key") } });
  } else {
    const name = text("realm");
    const credentials = md5(text("user") + ":" + form.get("password"));
    try {
      answer = await lamplight.call("logInUser", { data: { credentials, method: "md5", realm: name } });
    } catch (err) {
      if (!(err instanceof Failed) || err.code !== 401 || name.includes(".")) throw err;
      answer = await lamplight.call("logInUser", { data: { credentials, method: "md5", account_name: name } });
    }
  }
  remember(answer.auth_token, form.get("keep"));
}
