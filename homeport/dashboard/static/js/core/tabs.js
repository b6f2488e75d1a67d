// Tabs, as ARIA's pattern has them: arrow keys go between them, one is shown.
import { h } from "./dom.js";

let made = 0;

/** panels: [{name, label, panel}]. kept: the key in localStorage under which the chosen one is remembered. */
export function tabs(panels, { label, kept, chosen } = {}) {
  const remembered = (kept && localStorage.getItem(kept)) ?? chosen;
  const first = panels.some((one) => one.name === remembered) ? remembered : panels[0].name;
  const buttons = panels.map(({ name, label: text, panel }) => {
    const id = `tab-${++made}`;
    panel.id = `${id}-panel`;
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", id);
    return h("button", { type: "button", role: "tab", id, "aria-controls": panel.id, "data-tab": name, onclick: () => choose(name) }, text);
  });
  const list = h("div", { class: "tabs", role: "tablist", "aria-label": label }, buttons);
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const now = buttons.findIndex((one) => one.getAttribute("aria-selected") === "true");
    const next = buttons[(now + step + buttons.length) % buttons.length];
    choose(next.dataset.tab);
    next.focus();
  });
  function choose(name) {
    for (const [index, one] of panels.entries()) {
      const on = one.name === name;
      buttons[index].setAttribute("aria-selected", String(on));
      buttons[index].tabIndex = on ? 0 : -1;
      one.panel.hidden = !on;
    }
    if (kept) localStorage.setItem(kept, name);
  }
  choose(first);
  return h("div", {}, list, panels.map((one) => one.panel));
}
