// Sections that renew themselves: `<section id="..." data-live="2">` is asked for again every 2 s, with the page that it
// is in, and replaced. Not while somebody does not look, types in it, or has a dialog of it open. Whatever is open or has
// the focus, stays so: by its id where it has one, else by its place.
import { localize } from "./format.js";
import { copying } from "./copy.js";
import { dialogs } from "./dialog.js";
import { scrolling } from "./scroll.js";

const FOCUSED = "a, button, summary, select";
const BUSY = "dialog[open], input:focus, select:focus, textarea:focus";
/** Section -> what the server had said of it. */
const SAID = new WeakMap();
/** The rhythms that there are, in seconds. */
const beating = new Set();

/** Before anything of a section is changed here. May be called again, for sections that have come since. */
export function enliven(within) {
  for (const section of within.querySelectorAll("[data-live]")) {
    if (!SAID.has(section)) SAID.set(section, section.innerHTML);
    const seconds = Number(section.dataset.live);
    if (beating.has(seconds)) continue;
    beating.add(seconds);
    setTimeout(renew, 1000 * seconds, seconds);
  }
}

async function renew(seconds) {
  const sections = `[data-live="${seconds}"]`;
  try {
    if (!document.hidden) await replace(sections, { gently: true });
  } finally {
    if (document.querySelector(sections)) setTimeout(renew, 1000 * seconds, seconds);
    else beating.delete(seconds);
  }
}

/** Ask for the page again, and take from it what the selector finds; elements need an id. gently: but for those in which
 * somebody is just doing something. */
export async function replace(selector, { gently = false } = {}) {
  const response = await fetch(location.href, { headers: { accept: "text/html" } }).catch(() => null);
  if (!response?.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const old of document.querySelectorAll(selector)) {
    const now = fresh.getElementById(old.id);
    if (!now || (gently && old.querySelector(BUSY))) continue;
    const said = now.innerHTML;
    if (said === SAID.get(old) && now.dataset.live === old.dataset.live) continue;
    SAID.set(now, said);
    localize(now);
    keepOpen(old, now);
    const focused = [...old.querySelectorAll(FOCUSED)].indexOf(document.activeElement);
    old.replaceWith(now);
    if (focused >= 0) (now.querySelectorAll(FOCUSED)[focused] ?? now.querySelector(FOCUSED))?.focus({ preventScroll: true });
    copying(now);
    dialogs(now);
    scrolling(now);
    now.dispatchEvent(new CustomEvent("homeport:renewed", { bubbles: true }));
  }
  enliven(document);
}

function keepOpen(old, now) {
  const before = [...old.querySelectorAll("details")];
  for (const [index, one] of [...now.querySelectorAll("details")].entries()) {
    const same = one.id ? before.find((other) => other.id === one.id) : before[index];
    if (same) one.open = same.open;
  }
}
