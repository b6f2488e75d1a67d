// A message that is written anew, in its place.
import { h } from "../core/dom.js";

const ROLES = ["user", "assistant", "system", "developer"];

export function edited(message, { text, tools, does, settled }) {
  if (does.busy()) return;
  const said = message.role === "assistant" ? message.choices[message.chosen] : message;
  const role = h("select", { class: "tiny", "aria-label": "Role" }, (ROLES.includes(message.role) ? ROLES : [message.role]).map((one) => h("option", {}, one)));
  role.value = message.role;
  const field = h("textarea", { "aria-label": "Text of the message", rows: String(Math.min(16, said.content.split("\n").length + 1)) }, said.content);
  const save = () => {
    does.rewrite(message, role.value, field.value);
    return message;
  };
  const form = h(
    "form",
    { class: "stack tight", "aria-label": "Edit the message" },
    field,
    h("div", { class: "row between" }, role, h("div", { class: "row" }, h("button", { type: "button", class: "tiny quiet", onclick: () => settled() }, "Cancel"), h("button", { class: "tiny" }, "Save"), h("button", { type: "button", class: "tiny primary", onclick: () => does.again(save()) }, "Save and answer"))),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    save();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      settled();
    }
  });
  tools.replaceChildren();
  text.replaceChildren(form);
  field.focus();
}
