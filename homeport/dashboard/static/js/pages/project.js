// What can be done with a whole project: another name, and its end.
import { $ } from "../core/dom.js";
import { request } from "../core/api.js";
import { confirmed } from "../core/dialog.js";
import { submits } from "../core/form.js";
import { complain } from "../core/toast.js";

const { project, name } = $("#project").dataset;
const path = `/v1/organization/projects/${project}`;

const form = $("#rename-form");
if (form) {
  submits(form, async (values) => {
    await request(path, { method: "POST", body: values });
    location.reload();
  });
}

$("#archive")?.addEventListener("click", async () => {
  if (!(await confirmed(`Archive “${name}”? Its keys are refused from then on, and there is no way back.`, { does: "Archive" }))) return;
  try {
    await request(`${path}/archive`, { method: "POST", body: {} });
    location.reload();
  } catch (error) {
    complain(error);
  }
});

$(".tabs [aria-current]").scrollIntoView({ block: "nearest", inline: "nearest" }); // on a phone they scroll
