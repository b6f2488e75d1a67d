// A new key, shown once: copied, used here, or left.
import { $ } from "../core/dom.js";
import { copy } from "../core/copy.js";

const dialog = $("#secret");
const use = $("#secret-use");

$("#secret-copy").addEventListener("click", () => copy($("#secret-value").textContent));
use.action = `/dashboard/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`;
dialog.addEventListener("close", () => tell("", "")); // it does not stay in the page

/** value: of the key. admin: it is one of the Admin API. Resolves when the dialog is closed. */
export function shown(value, { admin = false } = {}) {
  tell(value, `export OPENAI_BASE_URL=${location.origin}/v1\nexport ${admin ? "OPENAI_ADMIN_KEY" : "OPENAI_API_KEY"}=${value}`);
  dialog.showModal();
  $("#secret-copy").focus();
  return new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
}

function tell(value, snippet) {
  $("#secret-value").textContent = value;
  $("#secret-snippet").textContent = snippet;
  use.elements.key.value = value;
}
