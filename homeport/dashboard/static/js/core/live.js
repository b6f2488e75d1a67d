// Sections that renew themselves: `<section id="..." data-live="2">` is asked for again every 2 s, with the page that it
// is in, and replaced. Not while somebody does not look, types in it, or has a dialog of it open.
import { localize } from "./format.js";
import { copying } from "./copy.js";
import { dialogs } from "./dialog.js";

const FOCUSED = "a, button, summary, select";
/** Section -> what the server had said of it. */
const SAID = new WeakMap();

export function enliven(within) {
  const rhythms = new Set([...within.querySelectorAll("[data-live]")].map((section) => Number(section.dataset.live)));
  for (const seconds of rhythms) setTimeout(renew, 1000 * seconds, seconds);
}

async function renew(seconds) {
  const sections = `[data-live="${seconds}"]`;
  try {
    const busy = [...document.querySelectorAll(sections)].some((one) => one.querySelector("dialog[open], input:focus, select:focus, textarea:focus"));
    if (!document.hidden && !busy) await replace(sections);
  } finally {
    if (document.querySelector(sections)) setTimeout(renew, 1000 * seconds, seconds);
  }
}

/** Ask for the page again, and take from it what the selector finds; elements need an id. What has the focus keeps it. */
export async function replace(selector) {
  const response = await fetch(location.href, { headers: { accept: "text/html" } }).catch(() => null);
  if (!response?.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const old of document.querySelectorAll(selector)) {
    const now = fresh.getElementById(old.id);
    const said = now?.innerHTML;
    if (!now || said === SAID.get(old)) continue;
    const focused = [...old.querySelectorAll(FOCUSED)].indexOf(document.activeElement);
    const opened = [...old.querySelectorAll("details")].map((one) => one.open);
    localize(now);
    old.replaceWith(now);
    SAID.set(now, said);
    for (const [index, one] of [...now.querySelectorAll("details")].entries()) one.open ||= opened[index] ?? false;
    if (focused >= 0) (now.querySelectorAll(FOCUSED)[focused] ?? now.querySelector(FOCUSED))?.focus();
    copying(now);
    dialogs(now);
    now.dispatchEvent(new CustomEvent("homeport:renewed", { bubbles: true }));
  }
}
