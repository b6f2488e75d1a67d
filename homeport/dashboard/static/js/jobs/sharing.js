// Who may use a fine-tuned model beside the project that made it: `<button data-shares="ft:...">`, for admin keys.
import { all, request } from "../core/api.js";
import { h } from "../core/dom.js";
import { submits } from "../core/form.js";
import { complain } from "../core/toast.js";

/** own: the project that made them. */
export function sharing(own) {
  document.addEventListener("click", ({ target }) => {
    const button = target.closest("button[data-shares]");
    if (button) open(button.dataset.shares, own).catch(complain);
  });
}

async function open(model, own) {
  const path = `/v1/fine_tuning/checkpoints/${encodeURIComponent(model)}/permissions`;
  const projects = new Map((await all("/v1/organization/projects")).map((project) => [project.id, project.name]));
  const name = (id) => projects.get(id) ?? id;
  const list = h("ul", { class: "sharing" });
  const choice = h("select", { name: "project", id: "share-with", required: true });
  const share = h("button", { class: "primary" }, "Share");
  const form = h("form", {}, h("h2", {}, "Who may use it"), h("code", {}, model), list,
    h("div", { class: "field" }, h("label", { for: "share-with" }, "Another project"), choice),
    h("div", { class: "row end" }, h("button", { type: "button", onclick: () => dialog.close() }, "Close"), share));
  const dialog = h("dialog", { "aria-label": `Who may use ${model}` }, form);

  async function show() {
    const granted = await all(path);
    list.replaceChildren(...(granted.length ? granted.map(row) : [h("li", { class: "muted" }, "Only the project that made it.")]));
    const has = new Set(granted.map((one) => one.project_id));
    const others = [...projects.keys()].filter((id) => id !== own && !has.has(id));
    choice.replaceChildren(...others.map((id) => h("option", { value: id }, `${name(id)} · ${id}`)));
    if (!others.length) choice.append(h("option", { value: "" }, "There is no other project."));
    share.disabled = choice.disabled = !others.length;
  }

  function row(one) {
    const take = async () => {
      try {
        await request(`${path}/${one.id}`, { method: "DELETE" });
        await show();
      } catch (error) {
        complain(error);
      }
    };
    return h("li", {}, h("span", {}, name(one.project_id)), h("button", { type: "button", class: "tiny danger", onclick: take, "aria-label": `Take it from ${name(one.project_id)}` }, "Take away"));
  }

  submits(form, async ({ project }) => {
    await request(path, { method: "POST", body: { project_ids: [project] } });
    await show();
  });
  await show();
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
