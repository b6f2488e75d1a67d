// Which models a project may use, and what of it is moderated.
import { $, $$ } from "../core/dom.js";
import { ask, request } from "../core/api.js";
import { submits } from "../core/form.js";
import { complain, toast } from "../core/toast.js";

const project = $("#project").dataset.project;
const permissions = `/v1/organization/projects/${project}/model_permissions`;
const moderation = `/v1/homeport/projects/${project}/moderation`;

const models = $("#models-form");
for (const radio of models.elements.mode) radio.addEventListener("change", () => ($("#models-list").hidden = models.elements.mode.value === "all"));
for (const button of $$("[data-adds]", models)) button.addEventListener("click", () => add(button.dataset.adds));

function add(name) {
  const field = models.elements.model_ids;
  const named = field.value.split(/[\s,]+/).filter(Boolean);
  if (!named.includes(name)) field.value = [...named, name].join("\n");
}

submits(models, async ({ mode, model_ids: named }) => {
  if (mode === "all") await ask(permissions, { method: "DELETE" });
  else await request(permissions, { method: "POST", body: { mode, model_ids: named ?? [] } });
  toast("Saved.");
});

submits($("#moderation-form"), async ({ input, output, model, threshold }) => {
  const policy = { input: input ? { mode: "block" } : null, output: output ? { mode: "block" } : null };
  await request(moderation, { method: "POST", body: { policy, model: model ?? null, threshold: threshold ?? null } });
  toast("Saved.");
});

$("#moderation-reset")?.addEventListener("click", async () => {
  try {
    await ask(moderation, { method: "DELETE" });
    location.reload();
  } catch (error) {
    complain(error);
  }
});
