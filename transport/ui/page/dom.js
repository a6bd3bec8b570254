// Elements made without HTML texts, so that nothing that a server or caller wrote can become markup.
export const byID = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  e.append(...children);
  return e;
}

// table makes a table. rows are lists of texts or elements.
export function table(caption, heads, rows) {
  const head = make("thead", {}, make("tr", {}, ...heads.map((h) => make("th", { scope: "col" }, h))));
  const body = make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map((c) => make("td", {}, c ?? "")))));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, make("table", {}, make("caption", { class: "unseen" }, caption), head, body));
}
