// What every page has: the menu on a phone, the theme, times in the reader's zone, sections that renew themselves.
import { enliven } from "./core/live.js";
import { localize } from "./core/format.js";
import { copying } from "./core/copy.js";
import { dialogs } from "./core/dialog.js";
import { scrolling } from "./core/scroll.js";

const side = document.querySelector(".side");
const menu = document.querySelector(".menu");
menu?.addEventListener("click", () => {
  const open = side.classList.toggle("open");
  menu.setAttribute("aria-expanded", String(open));
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && side?.classList.contains("open")) menu.click();
});

const NEXT = { system: "light", light: "dark", dark: "system" };
const switcher = document.querySelector("[data-theme-switch]");
function showTheme() {
  const now = localStorage.getItem("homeport.theme") ?? "system";
  if (now === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = now;
  if (switcher) switcher.querySelector("span").textContent = `Theme: ${now}`;
  dispatchEvent(new CustomEvent("homeport:theme"));
}
switcher?.addEventListener("click", () => {
  const next = NEXT[localStorage.getItem("homeport.theme") ?? "system"];
  if (next === "system") localStorage.removeItem("homeport.theme");
  else localStorage.setItem("homeport.theme", next);
  showTheme();
});

// What was said here is nobody else's.
document.querySelector("form[action$='/sign-out']")?.addEventListener("submit", () => sessionStorage.clear());

enliven(document); // it remembers what the server has said, which the others change
showTheme();
localize(document);
copying(document);
dialogs(document);
scrolling(document);
