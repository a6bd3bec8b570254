// The page: it logs in, chooses an account and a view, and connects the stream with the wall.
import { account, accounts as listAccounts, forget, loggedIn, logIn } from "./api.js";
import { hideCluster, showCluster } from "./cluster.js";
import { byID, make } from "./dom.js";
import { Extension } from "./extension.js";
import { follow } from "./stream.js";
import { Wall } from "./wall.js";

let chosen = ""; // the account whose lamps are shown
let stop = new AbortController(); // of the stream

const wall = new Wall((extension) => details.show(chosen, extension));
const details = new Extension((extension) => wall.get(extension));

function connection(state) {
  byID("connection").textContent = { live: "Live", lost: "Connection lost; trying again …", "": "" }[state] ?? "";
  if (state === "refused") logOut("The token is not good any more. Log in again.");
}

function watch(accountID) {
  stop.abort();
  stop = new AbortController();
  chosen = accountID;
  wall.clear();
  follow(accountID, stop.signal, (event, data) => {
    if (event === "alive") byID("stale").textContent = data.stale ? `The lamps may be old: ${data.reason}.` : "";
    wall.take(event, data);
    if (event === "change") details.changed(data);
    if (event === "whole") byID("connection").textContent = "Live";
  }, connection);
}

// accounts fills the choice of accounts: that of the token and those below it.
async function accounts() {
  const select = byID("account");
  const own = account();
  let all = [];
  try {
    all = await listAccounts();
  } catch { // the account of the token can be watched all the same
  }
  if (!all.some((a) => a.id === own)) all.unshift({ id: own, name: own });
  all.sort((a, b) => (b.id === own) - (a.id === own) || (a.name ?? "").localeCompare(b.name ?? ""));
  select.replaceChildren(...all.map((a) => make("option", { value: a.id }, [a.name, a.realm].filter(Boolean).join(" · ") || a.id)));
  byID("account-field").hidden = false;
}

function view() {
  const inside = loggedIn();
  const cluster = location.hash === "#cluster";
  byID("login").hidden = inside;
  byID("views").hidden = byID("log-out").hidden = !inside;
  byID("lamps").hidden = !inside || cluster;
  byID("cluster").hidden = !inside || !cluster;
  for (const [id, here] of [["to-lamps", !cluster], ["to-cluster", cluster]]) {
    if (here) byID(id).setAttribute("aria-current", "page");
    else byID(id).removeAttribute("aria-current");
  }
  if (inside && cluster) showCluster();
  else hideCluster();
}

async function enter() {
  view();
  await accounts();
  watch(account());
}

function logOut(why = "") {
  stop.abort();
  forget();
  wall.clear();
  for (const d of document.querySelectorAll("dialog[open]")) d.close();
  byID("account-field").hidden = true;
  byID("connection").textContent = "";
  byID("stale").textContent = "";
  byID("login-error").textContent = why;
  view();
  byID("login-form").elements.user.focus();
}

function how() {
  const chosenWay = new FormData(byID("login-form")).get("how");
  for (const e of document.querySelectorAll("[data-how]")) e.hidden = e.dataset.how !== chosenWay;
}

byID("login-form").addEventListener("change", how);
byID("login-form").addEventListener("submit", async (e) => {
  e.preventDefault();
  const form = e.target;
  byID("login-error").textContent = "";
  try {
    await logIn(new FormData(form));
    form.reset();
    how();
    await enter();
  } catch (err) {
    byID("login-error").textContent = err.code === 401 ? "These credentials are not good." : err.code === 429 ? "Too many attempts; wait a minute." : err.message;
  }
});
byID("log-out").addEventListener("click", () => logOut());
byID("account").addEventListener("change", (e) => watch(e.target.value));
addEventListener("hashchange", view);

if (loggedIn()) enter();
else view();
