// A status that changes while somebody watches is read out.
import { $ } from "../core/dom.js";

export function telling(what) {
  const teller = $("[data-teller]");
  let before = $("[data-status]")?.dataset.status;
  document.addEventListener("homeport:renewed", ({ target }) => {
    const now = target.dataset.status;
    if (now === undefined || now === before) return;
    before = now;
    teller.textContent = `${what}: ${now.replaceAll("_", " ")}`;
  });
}
