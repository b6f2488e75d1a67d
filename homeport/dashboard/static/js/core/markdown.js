// What a model says, as it meant it to look: Markdown by marked, made harmless by DOMPurify, code by highlight.js.
import { module, script, style } from "./library.js";
import { copy } from "./copy.js";
import { h } from "./dom.js";

const LANGUAGES = { js: "javascript", ts: "typescript", py: "python", sh: "bash", shell: "bash", html: "xml", yml: "yaml", c: "cpp" };
/** Of the API's own answers nothing else is shown: no pictures from elsewhere, no forms, no styles. */
const ALLOWED = { USE_PROFILES: { html: true }, FORBID_TAGS: ["style", "form", "input", "button", "iframe", "img", "video", "audio", "source"], FORBID_ATTR: ["style", "class", "id", "name"] };
const loading = new Map();

/** Into an element, in place of what it has: what is there already in the same words stays, and with it what somebody has
 * selected. */
export async function show(element, text) {
  const [{ marked }, purify] = await Promise.all([module("marked.esm.js"), script("purify.min.js", "DOMPurify")]);
  const parsed = marked.parse(text, { gfm: true, breaks: true, async: false });
  const clean = purify.sanitize(parsed, { ...ALLOWED, RETURN_DOM_FRAGMENT: true });
  for (const link of clean.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noreferrer noopener";
  }
  element.classList.add("prose");
  const now = [...clean.childNodes];
  let same = 0;
  while (same < now.length && element.childNodes[same]?.isEqualNode(now[same])) same += 1;
  while (element.childNodes.length > same) element.lastChild.remove();
  element.append(...now.slice(same));
}

/** Once the text is whole: colours for its code, and a button that copies it. languages: of its blocks, from `fences`. */
export async function finish(element, text) {
  const languages = fences(text);
  const blocks = [...element.querySelectorAll("pre > code")];
  for (const [index, code] of blocks.entries()) {
    code.parentElement.tabIndex = 0; // whoever has no mouse scrolls it
    code.parentElement.before(h("div", { class: "row between small muted" }, h("span", {}, languages[index] ?? ""), h("button", { class: "tiny quiet", onclick: () => copy(code.textContent) }, "Copy")));
    await highlight(code, languages[index]);
  }
}

/** language: as after ```; unknown ones stay as they are. */
export async function highlight(code, language) {
  const name = LANGUAGES[language] ?? language;
  if (!name || !/^[a-z]+$/.test(name)) return;
  style("../css/highlight.css");
  const { default: hljs } = await module("highlight/core.min.js");
  if (!loading.has(name)) loading.set(name, module(`highlight/${name}.min.js`).then((found) => hljs.registerLanguage(name, found.default)).catch(() => null));
  await loading.get(name);
  if (!hljs.getLanguage(name)) return;
  const made = document.createElement("template");
  made.innerHTML = hljs.highlight(code.textContent, { language: name }).value; // it escapes what it is given
  code.replaceChildren(made.content);
}

function fences(text) {
  return [...text.matchAll(/^ {0,3}(```+|~~~+)[ \t]*([\w+-]*)[^\n]*\n[\s\S]*?(?:^ {0,3}\1|$(?![\s\S]))/gm)].map((found) => found[2].toLowerCase());
}
