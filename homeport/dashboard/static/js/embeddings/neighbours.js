// What is nearest to one of the texts.
import { h } from "../core/dom.js";
import { said, step } from "./similarity.js";

const SHORT = 80;

export function neighbours(texts, near) {
  const list = h("ol", { class: "neighbours" });
  const select = h("select", { id: "chosen", onchange: () => show(Number(select.value)) }, texts.map((text, at) => h("option", { value: String(at) }, `${at + 1}. ${text.length > SHORT ? `${text.slice(0, SHORT)}…` : text}`)));

  function show(chosen) {
    const others = texts.map((text, at) => ({ text, at, value: near[chosen][at] })).filter((one) => one.at !== chosen);
    others.sort((one, other) => other.value - one.value);
    list.replaceChildren(...others.map(({ text, value }) => h("li", {}, h("span", { class: `cell near-${step(value)}` }, said(value)), h("span", {}, text))));
  }

  show(0);
  return h("section", { class: "card", "aria-labelledby": "neighbours-title" }, h("h2", { id: "neighbours-title" }, "Nearest"), h("div", { class: "field" }, h("label", { for: "chosen" }, "To the text"), select), list);
}
