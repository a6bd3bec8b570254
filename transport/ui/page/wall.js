// The wall: one button for each lamp. Changes are collected and shown once in an animation frame. A change sets one attribute and two texts of
// one button of a fixed size, so the browser lays out nothing but that button. A lamp whose state changes goes to the group of its new state a little
// later, together with others.
import { byID, make } from "./dom.js";
import { isLit, kindOf, kinds, since } from "./words.js";

const partSize = 60; // lamps that are laid out together: a part that comes into sight is laid out and painted within one frame
const perFrame = 400; // lamps that are shown anew in one frame
const movesEvery = 100; // ms between the moves of lamps to the groups of their new states: each of them lays out and paints all that is in sight
const perMove = 120; // lamps that move at once: each part that they empty brings another one into sight

export class Wall {
  #lamps = new Map(); // extension → { lamp, item, button, name, word, late, kind, group }
  #changed = new Set();
  #moves = new Set(); // the lamps that are to move to the group of their state
  #mover = 0; // the timer that moves them; 0: none has to
  #gathering = null; // the lamps of a whole state that is coming; null: none is
  #frame = 0;
  #whole = false; // everything is to be arranged anew
  #groups = new Map(); // group → its box and its parts
  #sorted = null; // all extensions in their order; null: one came or went
  #focus = ""; // the extension whose button is in the tab order

  constructor(open) {
    this.open = open;
    this.root = byID("wall");
    this.counts = Object.fromEntries(kinds.map((k) => [k, 0]));
    for (const k of kinds) byID("state").append(make("option", { value: k }, k));
    for (const id of ["state", "older", "source", "group", "behind"]) byID(id).addEventListener("change", () => this.arrange());
    byID("search").addEventListener("input", () => this.arrange());
    byID("filters").addEventListener("submit", (e) => e.preventDefault());
    this.root.addEventListener("click", (e) => {
      const button = e.target.closest("button");
      if (button) this.open(button.dataset.ext);
    });
    this.root.addEventListener("keydown", (e) => this.#arrow(e));
    this.root.addEventListener("focusin", (e) => this.#roam(e.target));
    setInterval(() => { if (byID("older").value !== "0") this.arrange(); }, 10000);
    // The marks of ringing lamps go pale and back. An animation of each would cost the browser a layer and a pass for each, in every frame.
    setInterval(() => this.root.classList.toggle("dim", this.counts.ringing > 0 && !this.root.classList.contains("dim")), 500);
  }

  get(extension) { return this.#lamps.get(extension)?.lamp; }

  // take takes an event of the stream.
  take(event, data) {
    switch (event) {
      case "reload":
        this.#gathering = new Map();
        break;
      case "lamps":
        for (const [extension, lamp] of Object.entries(data)) this.#gathering?.set(extension, lamp);
        break;
      case "whole":
        if (!this.#gathering) break;
        for (const extension of this.#lamps.keys()) if (!this.#gathering.has(extension)) this.#put(extension, null);
        for (const [extension, lamp] of this.#gathering) this.#put(extension, lamp);
        this.#gathering = null;
        break;
      case "change":
        for (const [extension, lamp] of Object.entries(data)) this.#put(extension, lamp);
    }
  }

  clear() {
    for (const extension of this.#lamps.keys()) this.#put(extension, null);
  }

  #put(extension, lamp) {
    const l = this.#lamps.get(extension);
    if (!lamp) {
      if (!l) return;
      this.counts[l.kind]--;
      l.item.remove();
      this.#lamps.delete(extension);
      this.#changed.delete(extension);
      this.#moves.delete(l);
      this.#sorted = null;
      this.#whole = true;
    } else if (l) {
      l.lamp = lamp;
      this.#changed.add(extension);
    } else {
      this.#lamps.set(extension, this.#make(extension, lamp));
      this.#sorted = null;
      this.#whole = true;
    }
    this.#schedule();
  }

  #make(extension, lamp) {
    const name = make("span", { class: "name" });
    const word = make("span", { class: "word" });
    const late = make("b", { class: "bad" });
    const button = make("button", { type: "button", class: "lamp", tabindex: "-1" },
      make("span", { class: "mark", "aria-hidden": "true" }), make("span", { class: "ext" }, extension, " ", late), " ", name, " ", word);
    button.dataset.ext = extension;
    const l = { lamp, button, name, word, late, item: make("li", {}, button), kind: kindOf(lamp) };
    this.counts[l.kind]++;
    this.#show(l);
    return l;
  }

  // show writes what a lamp is.
  #show(l) {
    const kind = kindOf(l.lamp);
    this.counts[l.kind]--;
    this.counts[kind]++;
    l.kind = kind;
    if (l.button.dataset.lamp !== kind) l.button.dataset.lamp = kind;
    let text = kind;
    if (isLit(l.lamp) && l.lamp.since) text += ` ${since(l.lamp.since)}`;
    if (l.lamp.source && l.lamp.source !== "call") text += `, ${l.lamp.source}`;
    const late = l.lamp.behind ? `${l.lamp.behind} behind` : "";
    if (l.late.textContent !== late) l.late.textContent = late;
    if (l.text !== text) l.word.textContent = l.text = text;
    if (l.name.textContent !== (l.lamp.name ?? "")) l.name.textContent = l.lamp.name ?? "";
  }

  #schedule() {
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#frame = 0;
    if (this.#whole) {
      this.#whole = false;
      for (const extension of this.#changed) this.#show(this.#lamps.get(extension));
      this.#changed.clear();
      this.arrange();
      return;
    }
    const matches = this.#filter();
    const moving = byID("group").value === "state";
    let n = 0;
    for (const extension of this.#changed) {
      if (n++ === perFrame) break;
      this.#changed.delete(extension);
      const l = this.#lamps.get(extension);
      this.#show(l);
      const hide = !matches(extension, l.lamp);
      if (l.item.hidden !== hide) l.item.hidden = hide;
      if (moving && l.group !== l.kind) this.#moves.add(l);
    }
    if (this.#moves.size && !this.#mover) this.#mover = setTimeout(() => this.#move(), movesEvery);
    this.#count();
    if (this.#changed.size) this.#schedule();
  }

  #filter() {
    const text = byID("search").value.trim().toLowerCase();
    const state = byID("state").value;
    const source = byID("source").value;
    const behind = byID("behind").checked;
    const minutes = Number(byID("older").value);
    const before = Date.now() - minutes * 60000;
    return (extension, lamp) =>
      (!text || extension.includes(text) || (lamp.name ?? "").toLowerCase().includes(text)) &&
      (!state || (state === "lit" ? isLit(lamp) : kindOf(lamp) === state)) &&
      (!source || (isLit(lamp) && lamp.source === source)) &&
      (!behind || lamp.behind > 0) &&
      (!minutes || (isLit(lamp) && new Date(lamp.since) < before));
  }

  // move moves lamps whose state has changed to the groups of their states, those that have waited longest first.
  #move() {
    let n = 0;
    for (const l of this.#moves) {
      if (n++ === perMove) break;
      this.#moves.delete(l);
      if (l.group !== l.kind) this.#moveTo(l, l.kind);
    }
    this.#mover = this.#moves.size ? setTimeout(() => this.#move(), movesEvery) : 0;
  }

  // arrange puts all lamps into groups and parts anew, and hides those that the filters leave out.
  arrange() {
    const how = byID("group").value;
    const groupOf = {
      state: (extension, l) => l.kind,
      digits: (extension) => (/^\d{3,}/.test(extension) ? extension.slice(0, -2) + "xx" : "others"),
      kind: (extension, l) => (/^\W/.test(extension) ? "features" : l.lamp.name ? "people and devices" : "others"),
    }[how] ?? (() => "");
    const matches = this.#filter();
    const groups = new Map(how === "state" ? kinds.map((k) => [k, []]) : []);
    this.#sorted ??= [...this.#lamps.keys()].sort(new Intl.Collator(undefined, { numeric: true }).compare);
    for (const extension of this.#sorted) {
      const l = this.#lamps.get(extension);
      l.item.hidden = !matches(extension, l.lamp);
      l.group = groupOf(extension, l);
      if (!groups.has(l.group)) groups.set(l.group, []);
      groups.get(l.group).push(l);
    }
    this.#groups.clear();
    this.#moves.clear();
    const focused = document.activeElement?.dataset?.ext;
    this.root.replaceChildren(...[...groups].map(([name, lamps]) => this.#group(name, lamps)));
    if (focused !== undefined) this.#lamps.get(focused)?.button.focus({ preventScroll: true });
    if (!this.#lamps.get(this.#focus)?.item.isConnected) this.#roam(this.root.querySelector("li:not([hidden]) button"));
    this.#count();
  }

  #group(name, lamps) {
    const box = make("section", { class: "group", "aria-label": name || "Lamps" });
    if (name) box.append(make("h3", {}, name));
    this.#groups.set(name, { box, parts: [] });
    for (let i = 0; i < lamps.length; i += partSize) this.#part(name).append(...lamps.slice(i, i + partSize).map((l) => l.item));
    box.hidden = lamps.length === 0 || lamps.every((l) => l.item.hidden);
    return box;
  }

  // part adds an empty part to a group.
  #part(name) {
    const { box, parts } = this.#groups.get(name);
    parts.push(make("ul", { class: "part", role: "list", "aria-label": name || "Lamps" }));
    box.append(parts.at(-1));
    return parts.at(-1);
  }

  // moveTo moves a lamp to another group: into the first part that has room, so that no part becomes long.
  #moveTo(l, name) {
    const from = this.#groups.get(l.group);
    const to = this.#groups.get(name);
    if (!to) return;
    const focused = document.activeElement === l.button;
    const left = l.item.parentElement;
    l.group = name;
    (to.parts.find((p) => p.childElementCount < partSize) ?? this.#part(name)).append(l.item);
    if (!l.item.hidden) to.box.hidden = false;
    if (left && !left.childElementCount) {
      from.parts.splice(from.parts.indexOf(left), 1);
      left.remove();
      from.box.hidden ||= !from.parts.length;
    }
    if (focused) l.button.focus({ preventScroll: true });
  }

  #count() {
    const said = kinds.filter((k) => this.counts[k]).map((k) => `${this.counts[k]} ${k}`).join(", ");
    byID("counts").textContent = `${this.#lamps.size} extensions: ${said || "none"}`;
  }

  // roam puts one button, and no other, into the tab order.
  #roam(button) {
    if (!button?.dataset?.ext) return;
    const old = this.#lamps.get(this.#focus);
    if (old) old.button.tabIndex = -1;
    this.#focus = button.dataset.ext;
    button.tabIndex = 0;
  }

  // arrow follows the arrow keys.
  #arrow(e) {
    if (!["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"].includes(e.key)) return;
    const all = [...this.root.querySelectorAll(".group:not([hidden]) li:not([hidden]) button")];
    const at = all.indexOf(document.activeElement);
    if (at < 0) return;
    const columns = getComputedStyle(all[at].closest("ul")).gridTemplateColumns.split(" ").length;
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - columns, ArrowDown: at + columns, Home: 0, End: all.length - 1 }[e.key];
    e.preventDefault();
    all[Math.max(0, Math.min(all.length - 1, to))].focus();
  }
}
