// What a request has cost: its receipt is there a moment after its answer has ended.
import { request } from "./api.js";
import { h } from "./dom.js";
import { money } from "./format.js";

/** null: there is none. id: `x-request-id` of the answer. */
export async function receipt(id) {
  if (!id) return null;
  return request(`/v1/homeport/receipts/${encodeURIComponent(id)}`, { query: { wait: 10 } }).catch(() => null);
}

/** What it has cost, as a link to all of it, which may be shown at once and says it later. */
export function cost(id) {
  const link = h("a", { href: `/dashboard/requests/${encodeURIComponent(id)}`, title: "The receipt of this request" }, "…");
  receipt(id).then((found) => {
    link.textContent = !found ? "receipt" : found.total === null ? "no price" : money(found.total);
  });
  return link;
}
