// A project is created, and shown.
import { $ } from "../core/dom.js";
import { request } from "../core/api.js";
import { submits } from "../core/form.js";

submits($("#create-form"), async (values) => {
  const made = await request("/v1/organization/projects", { method: "POST", body: values });
  location.assign(`/dashboard/projects/${made.id}`);
});
