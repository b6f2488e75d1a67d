// The organization's admin keys, users and invites; what it may spend.
import { $ } from "../core/dom.js";
import { ask, request } from "../core/api.js";
import { confirmed } from "../core/dialog.js";
import { submits } from "../core/form.js";
import { complain } from "../core/toast.js";
import { does, renew } from "../manage/renewed.js";
import { shown } from "../manage/secret.js";
import { spending } from "../manage/spending.js";

const KEYS = "/v1/organization/admin_api_keys";
const INVITES = "/v1/organization/invites";
const USERS = "/v1/organization/users";
/** The invite that is accepted in the dialog. */
let invite = null;

spending();
does({
  "delete-key": async (button, row) => {
    const own = "own" in button.dataset ? " You are signed in with it here." : "";
    if (!(await confirmed(`Delete the admin key “${row.dataset.name}”? Whoever uses it is refused from now on.${own}`))) return;
    await ask(`${KEYS}/${row.dataset.key}`, { method: "DELETE" });
    if (own) location.reload();
    else await renew("#admin-keys", "Deleted.");
  },
  accept: (_, row) => {
    invite = row.dataset.invite;
    $("#accept-form").reset();
    $("#accept-title").textContent = `Accept for ${row.dataset.email}`;
    $("#accept").showModal();
  },
  "delete-invite": async (_, row) => {
    if (!(await confirmed(`Delete the invite of ${row.dataset.email}?`))) return;
    await ask(`${INVITES}/${row.dataset.invite}`, { method: "DELETE" });
    await renew("#invites", "Deleted.");
  },
  "remove-user": async (_, row) => {
    if (!(await confirmed(`Remove ${row.dataset.name} from the organization, and from every project? Keys of theirs are revoked.`, { does: "Remove" }))) return;
    await ask(`${USERS}/${row.dataset.user}`, { method: "DELETE" });
    await renew("#users, #admin-keys", "Removed.");
  },
});

document.addEventListener("change", async (event) => {
  const select = event.target.closest("select[data-role]");
  if (!select) return;
  try {
    await request(`${USERS}/${select.closest("tr").dataset.user}`, { method: "POST", body: { role: select.value } });
    await renew("#users", "Saved.");
  } catch (error) {
    complain(error);
    await renew("#users");
  }
});

submits($("#create-form"), async (values) => {
  const made = await request(KEYS, { method: "POST", body: values });
  $("#create").close();
  $("#create-form").reset();
  await shown(made.value, { admin: true });
  await renew("#admin-keys");
});

submits($("#invite-form"), async ({ projects, ...values }) => {
  const joined = (projects ?? []).map((id) => ({ id, role: "member" }));
  await request(INVITES, { method: "POST", body: { ...values, projects: joined } });
  $("#invite").close();
  $("#invite-form").reset();
  await renew("#invites", "The invite is there. Nobody was sent mail: accept it here.");
});

submits($("#accept-form"), async (values) => {
  await request(`/v1/homeport/invites/${invite}/accept`, { method: "POST", body: values });
  $("#accept").close();
  await renew("#invites, #users", "Accepted.");
});
