// A word at the edge of the page: read out by screen readers, gone after a while; errors stay until they are closed.
import { h } from "./dom.js";

const SECONDS = 4;

export function toast(text, { bad = false } = {}) {
  let all = document.querySelector(".toasts");
  if (!all) document.body.append((all = h("div", { class: "toasts", role: "status", "aria-live": "polite" })));
  const made = h("div", { class: bad ? "toast bad" : "toast" }, h("span", {}, text));
  made.append(h("button", { class: "quiet tiny", "aria-label": "Close", onclick: () => made.remove() }, "×"));
  all.append(made);
  if (!bad) setTimeout(() => made.remove(), 1000 * SECONDS);
}

/** What went wrong, unless it is that somebody has stopped it. */
export function complain(error) {
  if (error?.name === "AbortError") return;
  toast(error?.message ?? String(error), { bad: true });
}
