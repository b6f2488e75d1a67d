// The functions that a model calls: what with, and fields for what they give back.
import { h } from "../core/dom.js";
import { highlight } from "../core/markdown.js";
import { isJSON } from "./figures.js";

export function calls(message, does) {
  const called = message.choices[message.chosen].tool_calls;
  const open = does.last(message) ? called : [];
  const fields = new Map();
  const made = called.map((call) => {
    const given = call.function?.arguments ?? call.custom?.input ?? "";
    const name = call.function?.name ?? call.custom?.name ?? "";
    const code = h("code", {}, isJSON(given) ? JSON.stringify(JSON.parse(given), null, 2) : given);
    highlight(code, "json");
    const shown = h("div", { class: "call" }, h("p", {}, "Calls ", h("code", {}, name), " with"), h("pre", {}, code));
    if (!isJSON(given)) shown.append(h("p", { class: "small wrong" }, "These arguments are no valid JSON."));
    if (open.includes(call)) {
      const field = h("textarea", { rows: "2", class: "code", spellcheck: "false", id: `output-${call.id}` });
      fields.set(call, field);
      shown.append(h("div", { class: "field" }, h("label", { for: field.id }, `Output of ${name}`), field));
    }
    return shown;
  });
  if (!fields.size) return h("div", { class: "stack tight calls" }, made);
  const form = h("form", { class: "stack tight calls" }, made, h("div", { class: "row end" }, h("button", { class: "primary tiny" }, fields.size > 1 ? "Send outputs" : "Send output")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    does.outputs([...fields].map(([call, field]) => ({ role: "tool", tool_call_id: call.id, content: field.value })));
  });
  return form;
}
