// Keys of a project: made, changed, rotated, revoked.
import { $, $$ } from "../core/dom.js";
import { ask, request } from "../core/api.js";
import { confirmed } from "../core/dialog.js";
import { submits } from "../core/form.js";
import { complain } from "../core/toast.js";
import { cents, does, renew } from "../manage/renewed.js";
import { shown } from "../manage/secret.js";

const project = $("#project").dataset.project;
const OPENAI = `/v1/organization/projects/${project}`;
const HOMEPORT = `/v1/homeport/projects/${project}`;
const INTERVALS = ["month", "total"];

const dialog = $("#key");
const form = $("#key-form");
/** The key that is edited; null: one is made. */
let edited = null;
let rotated = null;

does({ create: () => open(null), edit: (_, row) => edit(row.dataset.key), rotate, revoke });

for (const radio of form.elements.may) radio.addEventListener("change", showScopes);

function showScopes() {
  $("#key-scopes").hidden = form.elements.may.value === "all";
}

function open(key, budgets = {}) {
  edited = key && { key, budgets };
  form.reset();
  $("#key-title").textContent = key ? `Edit “${key.name}”` : "Create an API key";
  $("#key-go").textContent = key ? "Save" : "Create key";
  $("[data-creating]", form).hidden = Boolean(key);
  $("#key-life").options[0].textContent = key ? "As it is" : "Never";
  if (key) fill(key, budgets);
  showScopes();
  for (const details of $$("details", form)) details.open = $$("input", details).some((field) => field.value);
  dialog.showModal();
  $("#key-name").focus();
}

function fill(key, budgets) {
  form.elements.name.value = key.name;
  form.elements.models.value = (key.models ?? []).join("\n");
  const scopes = (key.scopes ?? ["all"]).map((scope) => scope.replace(/^api\./, ""));
  form.elements.may.value = scopes.includes("all") ? "all" : "some";
  for (const box of $$("[name=scope]", form)) box.checked = scopes.includes(box.value);
  for (const [name, value] of Object.entries(key.rate_limits ?? {})) form.elements[`rate_limits.${name}`].value = value;
  for (const [interval, limit] of Object.entries(budgets)) form.elements[`budget.${interval}`].value = (limit / 100).toFixed(2);
}

async function edit(id) {
  const [key, limits] = await Promise.all([request(`${OPENAI}/api_keys/${id}`), request(`${HOMEPORT}/api_keys/${id}/spend_limit`)]);
  open(key, Object.fromEntries(limits.data.map((one) => [one.interval, one.threshold_amount])));
}

submits(form, async (values) => {
  const settings = settingsOf(values);
  const key = edited ? await change(edited.key, settings, values) : await make(settings, values);
  await setBudgets(key, values.budget ?? {}, edited?.budgets ?? {}).catch(complain); // the key is made all the same
  dialog.close();
  if (key.value) await shown(key.value);
  await renew("#keys", edited ? "Saved." : undefined);
});

/** Of a key, as the API has it; null: nothing is restricted. */
function settingsOf(values) {
  const chosen = $$("[name=scope]:checked", form).map((box) => box.value);
  return {
    name: values.name,
    scopes: values.may === "some" ? chosen : null,
    models: values.models?.length ? values.models : null,
    rate_limits: values.rate_limits ?? null,
  };
}

async function make(settings, { owner, expires_in_seconds: life }) {
  if (settings.scopes?.length === 0) throw new Error("Choose at least one permission.");
  const [kind, id] = (owner ?? "").split(":");
  if (kind !== "account") {
    const body = { ...settings, expires_in_seconds: life ?? null, user_id: id ?? null };
    return request(`${HOMEPORT}/api_keys`, { method: "POST", body });
  }
  const body = { name: settings.name, scopes: settings.scopes, expires_in_seconds: life ?? null };
  const made = await request(`${OPENAI}/service_accounts/${id}/api_keys`, { method: "POST", body });
  if (settings.models || settings.rate_limits) await modify(made.id, settings).catch(complain);
  return made;
}

async function change(key, settings, { expires_in_seconds: life }) {
  if (settings.scopes?.length === 0) throw new Error("Choose at least one permission.");
  const changed = await modify(key.id, settings);
  if (life) await request(`${OPENAI}/api_keys/${key.id}`, { method: "POST", body: { expires_in_seconds: life } });
  return changed;
}

const modify = (id, body) => request(`${HOMEPORT}/api_keys/${id}`, { method: "POST", body });

async function setBudgets(key, wanted, had) {
  const path = `${HOMEPORT}/api_keys/${key.id}/spend_limit`;
  for (const interval of INTERVALS) {
    const amount = wanted[interval] === undefined ? undefined : cents(wanted[interval]);
    if (amount === had[interval]) continue;
    if (amount === undefined) await ask(path, { method: "DELETE", query: { interval } });
    else await request(path, { method: "POST", body: { threshold_amount: amount, currency: "USD", interval } });
  }
}

function rotate(_, row) {
  rotated = row.dataset.key;
  $("#rotate-form").reset();
  $("#rotate-title").textContent = `Rotate “${row.dataset.name}”`;
  $("#rotate").showModal();
}

submits($("#rotate-form"), async (values) => {
  const made = await request(`${HOMEPORT}/api_keys/${rotated}/rotate`, { method: "POST", body: values });
  $("#rotate").close();
  await shown(made.value);
  await renew("#keys");
});

async function revoke(button, row) {
  const own = "own" in button.dataset ? " You are signed in with it here." : "";
  if (!(await confirmed(`Revoke “${row.dataset.name}”? Whoever uses it is refused from now on.${own}`, { does: "Revoke" }))) return;
  await ask(`${HOMEPORT}/api_keys/${row.dataset.key}`, { method: "DELETE" });
  if (own) location.reload();
  else await renew("#keys", "Revoked.");
}
