// Requests to the HTTP API. The token is kept in this module's memory and, only if the user asks for it, in sessionStorage. It is sent in a
// header and never stands in a URL.
import { md5 } from "./md5.js";

const kept = "lamplight-token";
let token = sessionStorage.getItem(kept) ?? "";

export class Failed extends Error {
  constructor(code, text) {
    super(text);
    this.code = code;
  }
}

export const loggedIn = () => token !== "";
export const headers = () => ({ "X-Auth-Token": token });

export function forget() {
  token = "";
  sessionStorage.removeItem(kept);
}

function remember(newToken, keep) {
  token = newToken;
  if (keep) sessionStorage.setItem(kept, token);
}

// account returns the account that the token is for.
export function account() {
  try {
    const claims = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(atob(claims)).account_id;
  } catch {
    return undefined;
  }
}

// ask makes a request and returns its envelope. An error has the words of the answer.
export async function ask(method, path, data) {
  const init = { method, headers: token ? headers() : {}, cache: "no-store", signal: AbortSignal.timeout(15000) };
  if (data !== undefined) init.body = JSON.stringify({ data });
  let answer, envelope;
  try {
    answer = await fetch("/v2/" + path, init);
    envelope = await answer.json();
  } catch {
    throw new Failed(0, "The node does not answer.");
  }
  if (!answer.ok) throw new Failed(answer.status, envelope.data?.message ?? envelope.message ?? String(answer.status));
  return envelope;
}

// logIn exchanges what the user gave for a token.
export async function logIn(form) {
  const text = (name) => form.get(name).trim();
  forget();
  if (form.get("how") === "token") {
    remember(text("token"), form.get("keep"));
    if (!account()) {
      forget();
      throw new Failed(401, "This is no token of Lamplight's.");
    }
    try {
      await ask("GET", "about");
    } catch (err) {
      forget();
      throw err;
    }
    return;
  }
  let answer;
  if (form.get("how") === "key") {
    answer = await ask("PUT", "api_auth", { api_key: text("key") });
  } else {
    const name = text("realm");
    const login = { credentials: md5(text("user") + ":" + form.get("password")), method: "md5" };
    try {
      answer = await ask("PUT", "user_auth", { ...login, realm: name });
    } catch (err) {
      if (err.code !== 401 || name.includes(".")) throw err;
      answer = await ask("PUT", "user_auth", { ...login, account_name: name });
    }
  }
  remember(answer.auth_token, form.get("keep"));
}

// at is the path of an account's extension.
export const at = (accountID, extension) => `accounts/${accountID}/presence/${encodeURIComponent(extension)}`;
