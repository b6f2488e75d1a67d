// Rate limits of a project: its tier, and what it has in place of that.
import { $, $$ } from "../core/dom.js";
import { ask, request } from "../core/api.js";
import { number } from "../core/format.js";
import { submits } from "../core/form.js";
import { does, renew } from "../manage/renewed.js";

const project = $("#project").dataset.project;
const dialog = $("#limit");
const form = $("#limit-form");
/** The id of the limit that is edited; null: the form names the model. */
let edited = null;

does({
  edit: (_, row) => open(row),
  other: () => open(null),
  reset: async (_, row) => {
    await ask(`/v1/homeport/projects/${project}/rate_limits/${path(row.dataset.limit)}`, { method: "DELETE" });
    await renew("#limits", `${row.dataset.model} has the tier's limits again.`);
  },
});

function open(row) {
  edited = row?.dataset.limit ?? null;
  form.reset();
  $("#limit-title").textContent = row ? `Limits of ${row.dataset.model}` : "Limits of another model";
  $("#limit-which").hidden = Boolean(row);
  form.elements.model.disabled = Boolean(row);
  form.elements.model.required = !row;
  const own = (row && JSON.parse(row.dataset.own)) ?? {};
  const tier = (row && JSON.parse(row.dataset.tier)) ?? {};
  for (const field of $$("input[type=number]", form)) {
    field.value = own[field.name] ?? "";
    field.placeholder = tier[field.name] ? number(tier[field.name]) : "no limit";
  }
  dialog.showModal();
}

submits(form, async ({ model, ...limits }) => {
  const id = edited ?? `rl-${model}`;
  await request(`/v1/organization/projects/${project}/rate_limits/${path(id)}`, { method: "POST", body: limits });
  dialog.close();
  await renew("#limits", "Saved.");
});

submits($("#tier-form"), async ({ tier }) => {
  await request(`/v1/homeport/projects/${project}`, { method: "POST", body: { tier: tier ?? null } });
  await renew("#limits", "Saved.");
});

document.addEventListener("input", (event) => {
  if (event.target.id !== "limits-search") return;
  const wanted = event.target.value.trim().toLowerCase();
  for (const row of $$("tr[data-limit]")) row.hidden = !row.dataset.model.toLowerCase().includes(wanted);
});

/** A model's name may have slashes, which stay. */
function path(id) {
  return id.split("/").map(encodeURIComponent).join("/");
}
