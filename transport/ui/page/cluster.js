// The cluster page: nodes, shards, edges with their watchers, and sources of calls. Only a token of the master account may see it.
import { cluster } from "./api.js";
import { byID, make, table } from "./dom.js";
import { ago, moment } from "./words.js";

const every = 3000;
let timer = 0;

export function hideCluster() { clearTimeout(timer); timer = 0; }

export function showCluster() {
  hideCluster();
  timer = setTimeout(load, 0);
}

async function load() {
  const mine = timer;
  let parts;
  let again = true;
  try {
    parts = describe(await cluster());
  } catch (err) {
    again = err.code !== 403 && err.code !== 401;
    parts = [make("p", {}, err.code === 403 ? "Only a token of the master account sees the cluster, because it belongs to all accounts."
      : `The cluster could not be read: ${err.message}`)];
  }
  if (mine !== timer) return; // the page shows something else by now
  byID("cluster-body").replaceChildren(...parts);
  if (again) timer = setTimeout(load, every);
}

const bad = (n) => (n ? make("strong", { class: "bad" }, String(n)) : "0");

// disk says how much of a node's disk is free.
function disk(n) {
  if (!n.disk_size_bytes) return "";
  const percent = (100 * n.disk_free_bytes) / n.disk_size_bytes;
  const text = `${percent.toFixed(0)} %, ${(n.disk_free_bytes / 2 ** 30).toFixed(1)} GiB`;
  return percent < 10 ? make("strong", { class: "bad" }, text) : text;
}

// listens says whether anybody listens for the NOTIFYs to an edge.
function listens(e) {
  switch (e.listens) {
    case "down": return make("strong", { class: "bad" }, `down since ${moment(e.listens_at)}`);
    case "nobody": return make("strong", { class: "bad" }, `nobody at ${moment(e.listens_at)}`);
    case "never_up": return "never said edge.up";
    default: return e.listens ?? "";
  }
}

function describe(c) {
  const wrong = [...c.disagreements];
  if (c.unowned.length) wrong.unshift(`${c.unowned.length} shards have no owner; their extensions can't be read or changed.`);
  const parts = [wrong.length ? make("ul", { class: "findings bad" }, ...wrong.map((w) => make("li", {}, w))) : make("p", {}, "All nodes agree, and every shard has an owner.")];
  parts.push(make("h3", {}, "Nodes"), table("Nodes", ["Node", "State", "Member", "Shards", "Open", "Extensions", "Subscriptions", "Not told", "Events/s", "Takeovers", "Expelled", "Disk free", "Version"],
    c.nodes.map((n) => [n.node, n.state === "serving" ? n.state : make("strong", { class: "bad" }, n.state), n.member ? "yes" : "no", String(n.shards), String(n.open), String(n.extensions),
      String(n.subscriptions), bad(n.watchers_behind), n.events_per_second.toFixed(0), String(n.takeovers), bad(n.expulsions), disk(n), n.version])));
  const edges = c.watchers ?? [];
  const late = edges.reduce((n, e) => n + e.not_told + e.not_answered, 0);
  parts.push(make("h3", {}, "Edges and their watchers"), make("p", late ? { class: "bad" } : {}, late ? `${late} phones may show something else than they should.` : "Every phone was told what it should show, and has answered."));
  if (edges.length) {
    parts.push(table("Edges", ["Edge", "Listens", "Watchers", "Not told", "Not answered", "Since", "Worst extensions"],
      edges.map((e) => [e.edge, listens(e), String(e.watchers), bad(e.not_told), bad(e.not_answered), e.since ? `${moment(e.since)} (${ago(e.since)})` : "", (e.worst ?? []).map((w) => w.extension).join(", ")])));
  }
  parts.push(make("h3", {}, "Sources of calls"));
  parts.push(c.sources.length ? table("Sources of calls", ["Source", "Switch", "State", "Calls", "Until", "Node"],
    c.sources.map((s) => [s.source || "none", s.switch_uri, !s.source ? "" : s.silent ? make("strong", { class: "bad" }, `silent for ${ago(s.expires_at)}`) : "up", String(s.calls), s.source ? moment(s.expires_at) : "", s.node]))
    : make("p", {}, "No source speaks for a switch."));
  return parts;
}
