// Sections that renew themselves: `<section id="..." data-live="2">` is asked for again every 2 s, with the page that it
// is in, and replaced. Not while somebody does not look, types in it, or has a dialog of it open. Whatever is open or has
// the focus, stays so: details by their ids, buttons and links by their place.
import { localize } from "./format.js";
import { copying } from "./copy.js";
import { dialogs } from "./dialog.js";

const FOCUSED = "a, button, summary";
/** Of sections: what the server has said last. */
const said = new WeakMap();
const beating = new Set();

/** Before anything of a section is changed here. May be called again, for sections that have come since. */
export function enliven(within) {
  for (const section of within.querySelectorAll("[data-live]")) {
    if (!said.has(section)) said.set(section, section.innerHTML);
    const seconds = Number(section.dataset.live);
    if (beating.has(seconds)) continue;
    beating.add(seconds);
    setTimeout(renew, 1000 * seconds, seconds);
  }
}

async function renew(seconds) {
  try {
    if (!document.hidden) await replace(`[data-live="${seconds}"]`);
  } finally {
    if (document.querySelector(`[data-live="${seconds}"]`)) setTimeout(renew, 1000 * seconds, seconds);
    else beating.delete(seconds);
  }
}

/** Ask for the page again, and take from it what the selector finds; elements need an id. */
export async function replace(selector) {
  const response = await fetch(location.href, { headers: { accept: "text/html" } }).catch(() => null);
  if (!response?.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const old of document.querySelectorAll(selector)) {
    const now = fresh.getElementById(old.id);
    if (!now || busy(old)) continue;
    const told = now.innerHTML;
    if (told === said.get(old) && now.dataset.live === old.dataset.live) continue;
    said.set(now, told);
    localize(now);
    for (const open of old.querySelectorAll("details[id]")) now.querySelector(`#${CSS.escape(open.id)}`)?.toggleAttribute("open", open.open);
    const place = old.contains(document.activeElement) ? [...old.querySelectorAll(FOCUSED)].indexOf(document.activeElement) : -1;
    old.replaceWith(now);
    if (place >= 0) now.querySelectorAll(FOCUSED)[place]?.focus({ preventScroll: true });
    copying(now);
    dialogs(now);
    now.dispatchEvent(new CustomEvent("homeport:renewed", { bubbles: true }));
  }
  enliven(document);
}

function busy(section) {
  const types = section.contains(document.activeElement) && document.activeElement.matches("input, select, textarea");
  return types || section.querySelector("dialog[open]") !== null;
}
