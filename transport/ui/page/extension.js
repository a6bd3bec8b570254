// One extension: why it is lit, its last changes, its watchers, and the buttons that set and reset it.
import { command, explain } from "./api.js";
import { byID, make, table } from "./dom.js";
import { ago, kindOf, moment } from "./words.js";

export class Extension {
  #account = "";
  #extension = "";
  #timer = 0;
  #asked = 0; // counts the questions, so that an answer that comes late shows nothing

  constructor(lampOf) {
    this.lampOf = lampOf;
    this.dialog = byID("extension");
    byID("extension-close").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => { clearTimeout(this.#timer); this.#extension = ""; });
    byID("actions").addEventListener("click", (e) => {
      const button = e.target.closest("button");
      if (button) this.#confirm(button);
    });
    byID("confirm-no").addEventListener("click", () => byID("confirm").close());
    byID("confirm-yes").addEventListener("click", () => { byID("confirm").close(); this.#send(); });
  }

  show(account, extension) {
    this.#account = account;
    this.#extension = extension;
    byID("extension-title").textContent = `${extension} ${this.lampOf(extension)?.name ?? ""}`;
    byID("extension-body").replaceChildren(make("p", {}, "Asking the owner …"));
    byID("result").textContent = "";
    if (!this.dialog.open) this.dialog.showModal();
    this.refresh(0);
  }

  // changed asks again soon when the extension that is shown has changed.
  changed(extensions) {
    if (this.#extension && this.#extension in extensions) this.refresh(300);
  }

  refresh(after) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#load(), after);
  }

  async #load() {
    const asked = ++this.#asked;
    const extension = this.#extension;
    let parts;
    try {
      const { data, stale } = await explain(this.#account, extension);
      parts = describe(data, stale, this.lampOf(extension));
    } catch (err) {
      parts = [make("p", { class: "bad" }, `The state could not be read: ${err.message}`)];
    }
    if (asked !== this.#asked || extension !== this.#extension) return;
    const body = byID("extension-body");
    const regions = (e) => [...e.querySelectorAll("[role=region]")];
    const focused = regions(body).indexOf(document.activeElement);
    const top = this.dialog.scrollTop;
    body.replaceChildren(...parts);
    if (focused >= 0) regions(body)[focused]?.focus({ preventScroll: true });
    this.dialog.scrollTop = top;
    this.refresh(5000);
  }

  #confirm(button) {
    const { action, state } = button.dataset;
    this.command = state ? { action, state } : { action };
    byID("confirm-text").textContent = {
      reset: `Reset ${this.#extension}? All its calls, registers and its manual state are forgotten, and all its watchers are told.`,
      early: `Set ${this.#extension} to ringing by hand? It stays so until somebody changes or resets it.`,
      confirmed: `Set ${this.#extension} to busy by hand? It stays so until somebody changes or resets it.`,
      terminated: `Remove the manual state of ${this.#extension}? Its calls and registers stay.`,
    }[state ?? action];
    byID("confirm-yes").textContent = button.textContent;
    byID("confirm").showModal();
  }

  async #send() {
    const result = byID("result");
    result.textContent = "Sending …";
    try {
      const { request_id: id } = await command(this.#account, this.#extension, this.command);
      result.textContent = `Done (request ${id}).`;
    } catch (err) {
      result.textContent = `It failed: ${err.message}` + (err.code === 503 ? " It may have happened all the same." : "");
    }
    this.refresh(0);
  }
}

// describe returns the elements that say why a lamp is as it is.
function describe(data, stale, lamp) {
  const x = data.explain;
  const winner = x.winner;
  const kind = kindOf({ ...lamp, state: data.state, source: winner?.source, held: winner?.held });
  const parts = [make("p", { "data-lamp": kind }, make("strong", { class: "word" }, kind), winner ? ` since ${moment(winner.since)} (${ago(winner.since)})` : "")];
  const findings = x.findings.map((f) => make("li", { "data-kind": f.kind }, make("code", {}, f.kind), `: ${f.text}`));
  if (stale && !findings.length) findings.push(make("li", {}, "The node can't reach NATS: this may be old."));
  parts.push(make("h3", {}, "What to know"));
  parts.push(findings.length ? make("ul", { class: "findings" }, ...findings) : make("p", {}, "Nothing is out of the ordinary."));
  if (x.findings.length) parts.push(make("p", {}, "What to do about each of these is in docs/runbook.md, under its first word."));
  if (winner) {
    parts.push(make("h3", {}, "Why it is lit"), facts(winner, x));
  }
  if (x.losers.length) {
    parts.push(make("h3", {}, "What else counts"), table("Other dialogs", ["State", "Source", "With", "Since", "Lease ends", "Call-ID"],
      x.losers.map((d) => [state(d), d.source, d.to, moment(d.since), moment(d.expires) || "never", d.call_id])));
  }
  parts.push(make("h3", {}, "Last changes"));
  parts.push(x.transitions.length ? table("Last changes", ["When", "State", "Cause", "By", "From", "Request", "Call-ID"],
    [...x.transitions].reverse().map((t) => [moment(t.at), t.state, t.source + (t.switch ? ` on ${t.switch}` : ""), t.by, t.address, t.request_id, t.call_id]))
    : make("p", {}, "None is remembered."));
  const flows = flowsOf(data.subscriptions);
  parts.push(make("h3", {}, "Watchers"));
  parts.push(x.watchers.length ? table("Watchers", ["Watcher", "Package", "Edge", "Sequence", "Answered", "Reply", "After", "State", "Flow"],
    x.watchers.map((w) => [w.from, w.event, w.edge, String(w.sequence), String(w.acked), w.reply ? String(w.reply) : "none yet", w.latency_ms === undefined ? "" : `${w.latency_ms} ms`,
      w.behind ? make("strong", { class: "bad" }, "behind") : "up to date", flows.get(w.call_id)]))
    : make("p", {}, "Nobody watches it."));
  if (x.ended.length) {
    parts.push(make("h3", {}, "Subscriptions that ended"), table("Subscriptions that ended", ["Watcher", "Package", "When", "Reply"],
      x.ended.map((w) => [w.from, w.event, moment(w.at), w.reply ? String(w.reply) : "none"])));
  }
  parts.push(make("p", {}, `Node ${x.node} owns it (shard ${x.shard}, generation ${x.generation}).`));
  return parts;
}

const state = (d) => d.state + (d.held ? ", on hold" : "");

function facts(d, x) {
  const on = x.transitions.findLast((t) => t.call_id === d.call_id && t.switch)?.switch;
  const list = make("dl");
  for (const [name, value] of [["State", state(d)], ["Source", d.source], ["With", d.to], ["Direction", d.direction], ["Switch", on],
    ["Lease ends", d.expires ? moment(d.expires) : "never: it stays until it changes or is reset"], ["Call-ID", d.call_id]]) {
    if (value) list.append(make("dt", {}, name), make("dd", {}, value));
  }
  return list;
}

// flowsOf returns for each subscription how its phone is reached: its Contact and, where a SIP edge of Lamplight's serves it, the flow.
function flowsOf(subscriptions) {
  const flows = new Map();
  for (const packages of Object.values(subscriptions)) {
    for (const calls of Object.values(packages)) {
      for (const [callID, s] of Object.entries(calls)) flows.set(callID, [s.contact, s.proxy_route?.split(";")[0], s.user_agent].filter(Boolean).join(" "));
    }
  }
  return flows;
}
