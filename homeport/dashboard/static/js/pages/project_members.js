// Who is in a project: users of the organization, and service accounts.
import { $ } from "../core/dom.js";
import { ask, request } from "../core/api.js";
import { confirmed } from "../core/dialog.js";
import { submits } from "../core/form.js";
import { complain } from "../core/toast.js";
import { does, renew } from "../manage/renewed.js";
import { shown } from "../manage/secret.js";

const path = `/v1/organization/projects/${$("#project").dataset.project}`;
/** The service account whose dialog is open. */
let account = null;

does({
  "remove-user": async (_, row) => {
    if (!(await confirmed(`Remove ${row.dataset.name} from the project? Keys of theirs in it are refused from then on.`, { does: "Remove" }))) return;
    await ask(`${path}/users/${row.dataset.user}`, { method: "DELETE" });
    location.reload(); // who can be added is another list now
  },
  "account-key": (_, row) => opened(row, "#account-key", `Create a key for “${row.dataset.name}”`),
  "rename-account": (_, row) => {
    opened(row, "#rename-account");
    $("#rename-account-name").value = row.dataset.name;
  },
  "delete-account": async (_, row) => {
    const keys = Number(row.dataset.keys);
    const theirs = keys === 0 ? "" : keys === 1 ? " Its key is revoked." : ` Its ${keys} keys are revoked.`;
    if (!(await confirmed(`Delete the service account “${row.dataset.name}”?${theirs}`))) return;
    await ask(`${path}/service_accounts/${row.dataset.account}`, { method: "DELETE" });
    await renew("#accounts", "Deleted.");
  },
});

function opened(row, id, title) {
  account = row.dataset.account;
  $(`${id}-form`).reset();
  if (title) $(`${id}-title`).textContent = title;
  $(id).showModal();
}

document.addEventListener("change", async (event) => {
  const select = event.target.closest("select[data-role]");
  if (!select) return;
  const row = select.closest("tr");
  try {
    await request(`${path}/${select.dataset.role}/${row.dataset.user ?? row.dataset.account}`, { method: "POST", body: { role: select.value } });
    await renew("#people, #accounts", "Saved.");
  } catch (error) {
    complain(error);
    await renew("#people, #accounts");
  }
});

submits($("#add-user-form"), async (values) => {
  await request(`${path}/users`, { method: "POST", body: values });
  location.reload();
});

const adding = $("#add-account-form");
adding.elements.with_key.addEventListener("change", (event) => ($("#add-account-ends").hidden = !event.target.checked));
submits(adding, async ({ name, with_key: withKey, expires_in_seconds: life }) => {
  const body = withKey ? { name, expires_in_seconds: life } : { name, create_service_account_only: true };
  const made = await request(`${path}/service_accounts`, { method: "POST", body });
  $("#add-account").close();
  adding.reset();
  if (made.api_key) await shown(made.api_key.value);
  await renew("#accounts");
});

submits($("#rename-account-form"), async (values) => {
  await request(`${path}/service_accounts/${account}`, { method: "POST", body: values });
  $("#rename-account").close();
  await renew("#accounts", "Renamed.");
});

submits($("#account-key-form"), async (values) => {
  const made = await request(`${path}/service_accounts/${account}/api_keys`, { method: "POST", body: values });
  $("#account-key").close();
  await shown(made.value);
  await renew("#accounts");
});
