// Sections that renew themselves: `<section id="..." data-live="2">` is asked for again every 2 s, with the page that it
// is in, and replaced. Not while somebody does not look, types in it, or has a dialog of it open.
import { localize } from "./format.js";
import { copying } from "./copy.js";
import { dialogs } from "./dialog.js";

export function enliven(within) {
  const rhythms = new Set([...within.querySelectorAll("[data-live]")].map((section) => Number(section.dataset.live)));
  for (const seconds of rhythms) setTimeout(renew, 1000 * seconds, seconds);
}

async function renew(seconds) {
  try {
    if (!document.hidden) await replace(`[data-live="${seconds}"]`);
  } finally {
    if (document.querySelector(`[data-live="${seconds}"]`)) setTimeout(renew, 1000 * seconds, seconds);
  }
}

/** Ask for the page again, and take from it what the selector finds; elements need an id. */
export async function replace(selector) {
  const response = await fetch(location.href, { headers: { accept: "text/html" } }).catch(() => null);
  if (!response?.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const old of document.querySelectorAll(selector)) {
    const now = fresh.getElementById(old.id);
    if (!now || now.innerHTML === old.dataset.said || old.contains(document.activeElement) || old.querySelector("dialog[open]")) continue;
    const said = now.innerHTML;
    for (const open of old.querySelectorAll("details[id][open]")) now.querySelector(`#${CSS.escape(open.id)}`)?.setAttribute("open", "");
    localize(now);
    old.replaceWith(now);
    now.dataset.said = said;
    copying(now);
    dialogs(now);
    now.dispatchEvent(new CustomEvent("homeport:renewed", { bubbles: true }));
  }
}
