// Budgets and spend alerts, of the organization or of a project.
import { $ } from "../core/dom.js";
import { ask, request } from "../core/api.js";
import { confirmed } from "../core/dialog.js";
import { submits, submitted } from "../core/form.js";
import { cents, does, renew } from "./renewed.js";

/** renews: a selector of what shows them. */
export function spending({ renews = "#budgets" } = {}) {
  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form[data-budget]");
    if (!form) return;
    event.preventDefault();
    submitted(form, ({ threshold_amount: dollars }) => set(form.dataset, dollars)).then((well) => well && renew(renews, "Saved."));
  });
  does({
    lift: async (button) => {
      const { path, budget } = button.closest("form").dataset;
      if (!(await confirmed("Remove this limit? What is spent is bounded by the others alone then.", { does: "Remove" }))) return;
      await ask(path, { method: "DELETE", query: path.startsWith("/v1/homeport") ? { interval: budget } : {} });
      await renew(renews, "Removed.");
    },
  });
  alerts();
}

const set = ({ path, budget }, dollars) => request(path, { method: "POST", body: { threshold_amount: cents(dollars), currency: "USD", interval: budget } });

function alerts() {
  const dialog = $("#alert");
  const form = $("#alert-form");
  const path = () => $("#alerts").dataset.path;
  let edited = null;

  does({
    "add-alert": () => open(null),
    "edit-alert": async (button) => open(await request(`${path()}/${button.dataset.id}`)),
    "delete-alert": async (button) => {
      if (!(await confirmed("Delete this alert?"))) return;
      await ask(`${path()}/${button.dataset.id}`, { method: "DELETE" });
      await renew("#alerts", "Deleted.");
    },
  });

  function open(alert) {
    edited = alert?.id ?? null;
    form.reset();
    if (alert) {
      form.elements.threshold_amount.value = (alert.threshold_amount / 100).toFixed(2);
      form.elements["notification_channel.recipients"].value = alert.notification_channel.recipients.join("\n");
      form.elements["notification_channel.subject_prefix"].value = alert.notification_channel.subject_prefix ?? "";
    }
    dialog.showModal();
  }

  submits(form, async ({ threshold_amount: dollars, notification_channel: channel }) => {
    const body = { threshold_amount: cents(dollars), currency: "USD", interval: "month", notification_channel: { type: "email", ...channel } };
    await request(edited ? `${path()}/${edited}` : path(), { method: "POST", body });
    dialog.close();
    await renew("#alerts", "Saved.");
  });
}
