// "Copy as curl / Python / Node": what a page has asked, or would ask, as code.
import { copy } from "./copy.js";
import { h, icon } from "./dom.js";
import { highlight } from "./markdown.js";
import { snippets } from "./snippets.js";
import { tabs } from "./tabs.js";

const LANGUAGES = [
  ["curl", "curl", "bash"],
  ["python", "Python", "python"],
  ["node", "Node", "javascript"],
];
const KEPT = "homeport.code";

/** request: as snippets() takes it. */
export function showCode(request, { title = "The same in code" } = {}) {
  const made = snippets(request);
  const panels = LANGUAGES.map(([name, label, language]) => {
    const code = h("code", {}, made[name]);
    highlight(code, language);
    return { name, label, panel: h("div", { class: "code" }, h("button", { class: "tiny", onclick: () => copy(made[name]) }, icon("copy"), "Copy"), h("pre", { tabindex: "0", "aria-label": label }, code)) };
  });
  const close = h("button", { class: "quiet icon-only", "aria-label": "Close", onclick: () => dialog.close() }, icon("close"));
  const dialog = h(
    "dialog",
    { class: "wide", "aria-label": title },
    h("div", { class: "inside" }, h("div", { class: "row between" }, h("h2", {}, title), close), tabs(panels, { label: "Language", kept: KEPT })),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  dialog.querySelector('[role="tab"][aria-selected="true"]').focus();
}
