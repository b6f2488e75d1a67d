// What a job has told, the latest first.
import { h } from "../core/dom.js";
import { moment } from "../core/format.js";

/** Of those that tell of a step each. */
const MOST = 2000;

export function log(list, events) {
  list.prepend(...events.map(line).reverse());
  for (const old of [...list.querySelectorAll(".metrics")].slice(MOST)) old.remove();
}

function line({ created_at: at, level, message, type }) {
  const classes = [type === "metrics" ? "metrics" : "", level === "info" ? "" : level === "warn" ? "warn" : "error"];
  return h("li", { class: classes[0] }, moment(at), h("p", { class: classes[1] }, level === "info" ? "" : h("strong", {}, `${level}: `), message));
}
