// After something was changed: the parts of the page that show it are asked for again.
import { replace } from "../core/live.js";
import { complain, toast } from "../core/toast.js";

/** What `[data-does]` buttons within the page do: {name: (button, row) => ...}. Rows come and go, so it is the document
 * that listens. row: the nearest element with data of its own. */
export function does(acts) {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-does]");
    const act = button && acts[button.dataset.does];
    if (act) Promise.resolve(act(button, button.closest("tr"))).catch(complain);
  });
}

// What was typed into a dialog, or found wrong in it, is not there when it is opened again.
document.addEventListener("close", (event) => event.target.querySelector?.("form:not([method])")?.reset(), true);

/** selector: of elements with an id. */
export async function renew(selector, said) {
  await replace(selector);
  if (said) toast(said);
}

/** Of what somebody has typed in dollars. */
export const cents = (dollars) => Math.round(100 * Number(dollars));
