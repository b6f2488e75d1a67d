// `<button data-opens="id">` opens `<dialog id="id">`; `<button data-closes>` within closes it.
import { h } from "./dom.js";

export function dialogs(within) {
  for (const button of within.querySelectorAll("[data-opens]")) {
    button.addEventListener("click", () => document.getElementById(button.dataset.opens).showModal());
  }
  for (const button of within.querySelectorAll("dialog [data-closes]")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
}

/** Whether somebody really wants it. */
export function confirmed(question, { does = "Delete" } = {}) {
  return new Promise((resolve) => {
    const no = h("button", { type: "button", onclick: () => made.close("no") }, "Cancel");
    const yes = h("button", { type: "button", class: "danger", onclick: () => made.close("yes") }, does);
    const made = h("dialog", { "aria-label": question }, h("div", { class: "inside" }, h("p", {}, question), h("div", { class: "row end" }, no, yes)));
    made.addEventListener("close", () => {
      made.remove();
      resolve(made.returnValue === "yes");
    });
    document.body.append(made);
    made.showModal();
    no.focus();
  });
}
