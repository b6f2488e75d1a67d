// A conversation: its messages, how it is asked to go on, and what can be done with one of them.
import { $, h } from "../core/dom.js";
import { copy } from "../core/copy.js";
import { showCode } from "../core/code.js";
import { messageView } from "./message.js";
import { settings as settingsOf } from "./settings.js";
import { answer, sent, unanswered, written } from "./stream.js";

/** Pixels from the end at which one still reads the end. */
const NEAR = 60;

/** draft(): the message that is being written, or null. changed(): is called when something is to be kept. */
export function talk(element, { draft, changed }) {
  const settings = settingsOf($(".settings", element), () => {
    titled();
    changed();
  });
  const region = $(".messages", element);
  const views = new Map();
  let messages = [];
  let stopping = null;
  let pinned = true;

  const does = {
    changed,
    busy: () => stopping !== null,
    last: (message) => messages.at(-1) === message,
    called: (id) => messages.flatMap((one) => one.choices?.[one.chosen].tool_calls ?? []).find((call) => call.id === id)?.function?.name ?? "",
    grown: () => pinned && toTheEnd(),
    again(message) {
      if (stopping || complains()) return;
      cut(messages.indexOf(message) + (message.role === "assistant" && message.about ? 0 : 1));
      run();
    },
    remove(message) {
      if (stopping) return;
      const its = new Set(message.choices?.[message.chosen].tool_calls.map((call) => call.id));
      for (const one of messages.filter((other) => other === message || its.has(other.tool_call_id))) drop(one);
      renewed();
    },
    rewrite(message, role, content) {
      const made = role === message.role ? message : role === "assistant" ? written(content) : { role, content };
      if (role === "assistant") {
        if (made === message) delete made.about;
        made.choices[made.chosen].content = content;
      } else made.content = content;
      const at = messages.indexOf(message);
      for (const one of Object.keys(made === message ? {} : message)) delete message[one];
      if (made !== message) Object.assign(message, made);
      views.get(message).element.replaceWith(viewed(message).element);
      if (at === messages.length - 1) pinned = true;
      changed();
    },
    outputs(given) {
      if (stopping || complains()) return;
      const calling = messages.at(-1);
      add(...given);
      views.get(calling)?.settled();
      run();
    },
  };

  for (const one of [region, document]) one.addEventListener("scroll", () => (pinned = atTheEnd()), { passive: true });
  $("[data-code]", element).addEventListener("click", () => {
    if (complains()) return;
    showCode({ path: "/v1/chat/completions", body: request(draft()) });
  });
  $("[data-export]", element).addEventListener("click", () => {
    if (complains()) return;
    const { messages: said, tools } = request(null);
    copy(JSON.stringify({ messages: said, ...(tools && { tools }) }));
  });

  function viewed(message) {
    const view = messageView(message, does);
    views.set(message, view);
    return view;
  }

  function add(...more) {
    if (!messages.length) region.replaceChildren();
    for (const message of more) {
      messages.push(message);
      region.append(viewed(message).element);
    }
    pinned = true;
    toTheEnd();
    changed();
  }

  function drop(message) {
    messages = messages.filter((one) => one !== message);
    views.get(message).element.remove();
    views.delete(message);
  }

  function cut(length) {
    for (const message of messages.slice(length)) drop(message);
    renewed();
  }

  /** What is last now may have calls that wait for their outputs. */
  function renewed() {
    if (!messages.length) region.replaceChildren(nothing());
    else views.get(messages.at(-1)).settled();
    changed();
  }

  const system = () => (settings.system() ? [{ role: "system", content: settings.system() }] : []);
  /** What has no words was no answer. */
  const counts = (message) => !["failed", "stopped"].includes(message.about?.state) || Boolean(message.choices[message.chosen].content);

  function request(more) {
    const said = [...messages.filter(counts), ...(more ? [more] : [])].map(sent);
    return { model: settings.model(), messages: [...system(), ...said], ...settings.parameters() };
  }

  /** Whether the settings are no request: then one is led to what is wrong, where it is said. */
  function complains() {
    const field = settings.broken();
    field?.focus();
    return Boolean(field);
  }

  async function run() {
    if (stopping || complains()) return;
    const body = request(null);
    const message = unanswered(body);
    add(message);
    stopping = new AbortController();
    told("The model answers.");
    changed();
    const view = views.get(message);
    await answer(message, body, { signal: stopping.signal, changed: view.update });
    stopping = null;
    if (messages.includes(message)) await view.settled();
    told({ done: "The answer has ended.", stopped: "The answer was stopped.", failed: "There is no answer." }[message.about.state]);
    changed();
  }

  const told = (text) => ($(".told", element).textContent = text);
  const scroller = () => (getComputedStyle(region).overflowY === "auto" ? region : document.scrollingElement);
  const atTheEnd = () => scroller().scrollTop + scroller().clientHeight >= scroller().scrollHeight - NEAR;
  const toTheEnd = () => scroller().scrollTo({ top: scroller().scrollHeight });

  function titled() {
    const summary = settings.summary();
    $(".name", element).replaceChildren(settings.model() || "No model", summary ? h("span", { class: "small muted" }, ` ${summary}`) : "");
  }

  region.replaceChildren(nothing());
  titled();
  return {
    element,
    settings,
    add,
    run,
    request,
    complains,
    stop: () => stopping?.abort(),
    get busy() {
      return stopping !== null;
    },
    /** Whether there is something that could be answered. */
    get waits() {
      return messages.length > 0 && messages.at(-1).role !== "assistant";
    },
    get messages() {
      return messages;
    },
    clear() {
      stopping?.abort();
      cut(0);
    },
    kept: () => ({ settings: settings.kept(), messages }),
    keep({ settings: values, messages: said }) {
      settings.keep(values);
      titled();
      cut(0);
      const copied = structuredClone(said);
      for (const { about } of copied) if (about?.state === "running") about.state = "stopped";
      if (copied.length) add(...copied);
    },
  };
}

function nothing() {
  return h("div", { class: "empty" }, h("h3", {}, "Nothing has been said yet"), h("p", {}, "Write a message below. What the model is to be like stands in the system prompt."));
}
