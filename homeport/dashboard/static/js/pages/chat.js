// The chat playground: one conversation, or two side by side, and where the next message is written.
import { $, $$ } from "../core/dom.js";
import { toast } from "../core/toast.js";
import { composer } from "../chat/composer.js";
import { talk } from "../chat/talk.js";

const chat = $(".chat");
const KEPT = `homeport.chat.${chat.dataset.project}`;
const compare = $("[data-compare]");
const wide = matchMedia("(min-width: 72rem)");
const talks = [made($(".talk"))];
const writes = composer($(".composer"), {
  send,
  add: (message) => talking().forEach((one) => one.add(structuredClone(message))),
  stop,
  changed,
});
let comparing = false;
let keeping = 0;
let full = false;

function made(element) {
  return talk(element, { draft: () => writes.draft(), changed });
}

const talking = () => (comparing ? talks : talks.slice(0, 1));

/** message: null goes on with what there is. False: not now. */
function send(message) {
  const all = talking();
  if (all.some((one) => one.busy || one.complains())) return false;
  if (!message && !all.some((one) => one.waits)) return false;
  for (const one of all) {
    if (message) one.add(structuredClone(message));
    if (message || one.waits) one.run();
  }
}

function stop() {
  for (const one of talks) one.stop();
}

/** On, with what is in the first conversation in the second, too, unless that has one already. */
function compared(on, { fresh = true } = {}) {
  comparing = on;
  compare.setAttribute("aria-pressed", String(on));
  chat.classList.toggle("comparing", on);
  if (on && talks.length === 1) {
    const second = $("template", chat).content.firstElementChild.cloneNode(true);
    talks[0].element.after(second);
    talks.push(made(second));
    if (fresh) talks[1].keep(talks[0].kept());
  } else if (on && fresh && !talks[1].messages.length) talks[1].keep(talks[0].kept());
  if (talks[1]) talks[1].element.hidden = !on;
  if (!on) talks[1]?.stop();
  unfolded();
  changed();
}

/** There is room for the settings beside one conversation. */
function unfolded() {
  for (const rest of $$(".rest", chat)) rest.open = wide.matches && !comparing;
}

function changed() {
  const all = talking();
  const local = (one) => Boolean($('[name="model"]', one.element).selectedOptions[0]?.dataset.state);
  writes.state({ busy: all.some((one) => one.busy), pictures: !all.every(local) });
  keeping ||= setTimeout(keep, 300);
}

/** For this tab, until it is closed. */
function keep() {
  clearTimeout(keeping);
  keeping = 0;
  try {
    sessionStorage.setItem(KEPT, JSON.stringify({ talks: talks.map((one) => one.kept()), comparing, draft: writes.kept() }));
    full = false;
  } catch {
    if (!full) toast("The browser has no more room: what is said from now on is gone with this page.", { bad: true });
    full = true;
  }
}

function remembered() {
  const found = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
  const select = $('[name="model"]', talks[0].element);
  const ready = [...select.options].find((one) => ["ready", undefined].includes(one.dataset.state) && one.value);
  if (ready) talks[0].settings.choose(ready.value);
  if (found) {
    talks[0].keep(found.talks[0]);
    if (found.talks[1]) {
      compared(true, { fresh: false });
      talks[1].keep(found.talks[1]);
    }
    writes.keep(found.draft);
  }
  compared(found?.comparing ?? false, { fresh: false });
  const asked = new URLSearchParams(location.search).get("model");
  if (asked) {
    talks[0].settings.choose(asked);
    history.replaceState(null, "", location.pathname);
  }
  talks[0].settings.touched();
}

compare.addEventListener("click", () => compared(!comparing));
$("[data-new]").addEventListener("click", () => {
  for (const one of talks) one.clear();
  writes.focus();
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !$("dialog[open]") && talks.some((one) => one.busy)) stop();
});
addEventListener("pagehide", keep);
wide.addEventListener("change", unfolded);
remembered();
chat.dataset.ready = "";
if (wide.matches) writes.focus();
