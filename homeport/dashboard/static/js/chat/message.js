// A message as it is shown: what it says, what can be done with it, and while it is being written, all of that anew.
import { h, icon } from "../core/dom.js";
import { copy } from "../core/copy.js";
import { finish, highlight, show } from "../core/markdown.js";
import { edited } from "./edit.js";
import { figures, isJSON } from "./figures.js";
import { calls } from "./calls.js";
import { logprobs } from "./logprobs.js";

const ROLES = { system: "System", developer: "Developer", user: "User", assistant: "Assistant", tool: "Tool" };

/**
 * {element, update, settled}: update() after a piece has come; settled() once there are no more.
 *
 * does: {changed, remove, again, send, choose, busy, last, output}, of the conversation that it is in.
 */
export function messageView(message, does) {
  const text = h("div", { class: "content" });
  const name = h("h3", { class: "role" }, ROLES[message.role] ?? message.role);
  const tools = h("div", { class: "row actions" });
  const below = h("footer", { class: "row figures small muted" });
  const extra = h("div", { class: "stack tight extra" });
  const above = h("div", { class: "above" });
  const element = h("article", { class: `message ${message.role}`, "aria-label": `${ROLES[message.role] ?? message.role}'s message` }, h("header", { class: "row between" }, name, tools), above, text, extra, below);
  let drawing = null;
  let dirty = false;

  function update() {
    dirty = true;
    drawing ??= draw().finally(() => (drawing = null));
  }

  /** At most once a frame, and less often where it takes longer; never two at once, or the older might be seen last. */
  async function draw() {
    while (dirty) {
      await new Promise((resolve) => (document.hidden ? setTimeout(resolve, 100) : requestAnimationFrame(resolve)));
      dirty = false;
      const began = performance.now();
      await written(false);
      does.grown();
      const took = performance.now() - began;
      if (took > 12) await new Promise((resolve) => setTimeout(resolve, 3 * took));
    }
  }

  async function written(whole) {
    const said = message.role === "assistant" ? message.choices[message.chosen] : message;
    const running = message.about?.state === "running";
    element.setAttribute("aria-busy", String(running));
    element.classList.toggle("waiting", running && !said.content && !said.reasoning && !said.tool_calls.length);
    reasoning(said, whole);
    if (message.about?.json && said.content) json(said.content, whole);
    else if (message.role === "assistant") await marked(said.content, whole);
    else plain(said.content);
  }

  /** Where a library does not come, the text is shown as it is. */
  async function marked(content, whole) {
    try {
      await show(text, content);
      if (whole) await finish(text, content);
    } catch {
      plain(content);
    }
  }

  function plain(content) {
    text.replaceChildren(h("div", { class: "plain" }, content));
    const pictures = message.pictures?.map((url, at) => h("img", { src: url, alt: `Picture ${at + 1}` })) ?? [];
    if (pictures.length) text.append(h("div", { class: "row pictures" }, pictures));
  }

  function json(content, whole) {
    const pretty = whole && isJSON(content);
    const code = h("code", {}, pretty ? JSON.stringify(JSON.parse(content), null, 2) : content);
    text.replaceChildren(h("pre", {}, code));
    if (pretty) highlight(code, "json");
  }

  function reasoning(said, whole) {
    if (!said.reasoning) return above.replaceChildren();
    let folded = above.querySelector("details");
    if (!folded) above.append((folded = h("details", { class: "reasoning" }, h("summary", {}, "Reasoning"), h("div", { class: "plain" }))));
    folded.lastChild.textContent = said.reasoning;
    folded.firstChild.textContent = whole || said.content ? "Reasoning" : "Reasoning…";
  }

  async function settled() {
    dirty = false;
    await drawing;
    const said = message.role === "assistant" ? message.choices[message.chosen] : message;
    name.textContent = message.role === "tool" ? `Tool: ${does.called(message.tool_call_id)}` : (ROLES[message.role] ?? message.role);
    await written(true);
    extra.replaceChildren();
    if (said.refusal) extra.append(h("div", { class: "notice warn" }, h("strong", {}, "Refusal. "), said.refusal));
    if (message.about?.error) extra.append(failure(message.about.error));
    if (said.tool_calls?.length) extra.append(calls(message, does));
    if (said.logprobs?.length) extra.append(logprobs(said.logprobs));
    if (message.role === "assistant") below.replaceChildren(...switcher(), ...figures(message));
    actions();
    does.grown();
  }

  /** Of several choices, which one is shown, and goes on. */
  function switcher() {
    if (!(message.choices?.length > 1)) return [];
    const step = (by) => {
      message.chosen = (message.chosen + by + message.choices.length) % message.choices.length;
      does.changed();
      settled();
    };
    return [
      h("span", { class: "row choices", role: "group", "aria-label": "Choices" }, h("button", { class: "tiny quiet", "aria-label": "The choice before", onclick: () => step(-1) }, "‹"), `${message.chosen + 1} of ${message.choices.length}`, h("button", { class: "tiny quiet", "aria-label": "The next choice", onclick: () => step(1) }, "›")),
    ];
  }

  function failure({ status, code, message: words }) {
    return h("div", { class: "notice bad", role: "alert" }, h("p", {}, status ? h("strong", {}, `${status}${code ? ` ${code}` : ""}. `) : null, words), h("button", { class: "tiny", onclick: () => does.again(message) }, "Try again"));
  }

  function actions() {
    const act = (label, picture, what) => h("button", { class: "tiny quiet icon-only", "aria-label": label, title: label, onclick: what }, icon(picture));
    const said = message.role === "assistant" ? message.choices[message.chosen].content : message.content;
    tools.replaceChildren(
      act("Copy", "copy", () => copy(said)),
      act("Edit", "edit", () => edited(message, { text, tools, does, settled })),
      act(message.role === "assistant" ? "Answer again" : "Answer from here", "refresh", () => does.again(message)),
      act("Delete", "trash", () => does.remove(message)),
    );
  }

  if (message.about?.state === "running") update();
  else settled();
  return { element, update, settled };
}
