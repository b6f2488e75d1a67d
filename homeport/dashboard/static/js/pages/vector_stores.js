import { request } from "../core/api.js";
import { $ } from "../core/dom.js";
import { submits } from "../core/form.js";

submits($("#create form"), async ({ days, ...body }) => {
  if (days) body.expires_after = { anchor: "last_active_at", days };
  const { id } = await request("/v1/vector_stores", { method: "POST", body });
  location.assign(`/dashboard/vector-stores/${id}`);
});
