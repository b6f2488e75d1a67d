// A conversation's settings: a form, what it says of a request, and whether its JSON is any.
import { $, $$, h } from "../core/dom.js";
import { SCHEMA, TOOLS } from "./examples.js";

const EXAMPLES = { tools: TOOLS, schema: SCHEMA };
const READ = {
  number: Number,
  integer: (text) => Math.trunc(Number(text)),
  json: JSON.parse,
  stops: (text) => text.split("\n").filter(Boolean).map((line) => line.replaceAll("\\n", "\n")),
};
/** Name of a field of JSON -> what is wrong with it; nothing is. */
const CHECKS = {
  tools: (value) => (!Array.isArray(value) ? "It is a list of tools, in [ ]." : value.every((one) => one?.type !== "function" || one.function?.name) ? "" : "Each function needs a name: {\"type\": \"function\", \"function\": {\"name\": …}}."),
  schema: (value) => (value?.name && value.schema ? "" : "It needs a name and a schema: {\"name\": …, \"schema\": {…}}."),
  more: (value) => (value !== null && typeof value === "object" && !Array.isArray(value) ? "" : "It is an object, in { }."),
};
/** Not of the request, or not by these names. */
const OWN = new Set(["model", "other", "system", "format", "schema", "more", "tool_choice"]);

/** changed: is called whenever something is. */
export function settings(form, changed) {
  const field = (name) => form.elements.namedItem(name);
  const initial = kept();

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    const slider = event.target.dataset.moves;
    if (slider) field(slider).value = event.target.value;
    shown();
    changed();
  });
  for (const button of $$("[data-example]", form)) {
    button.addEventListener("click", () => {
      field(button.dataset.example).value = JSON.stringify(EXAMPLES[button.dataset.example], null, 2);
      shown();
      changed();
    });
  }
  $("[data-reset]", form).addEventListener("click", () => {
    const { model, other } = kept();
    keep({ ...initial, model, other });
    changed();
  });

  /** All fields, to be kept. */
  function kept() {
    return Object.fromEntries([...form.elements].filter((one) => one.name).map((one) => [one.name, one.type === "checkbox" ? one.checked : one.value]));
  }

  function keep(values) {
    for (const one of form.elements) {
      if (!one.name || values[one.name] === undefined) continue;
      if (one.type === "checkbox") one.checked = values[one.name];
      else if (one.name !== "tool_choice") one.value = values[one.name];
    }
    choices();
    field("tool_choice").value = values.tool_choice ?? "";
    shown();
  }

  function model() {
    return field("model").value || field("other").value.trim();
  }

  /** name: in the list or not. */
  function choose(name) {
    const listed = [...field("model").options].some((one) => one.value === name);
    field("model").value = listed ? name : "";
    if (!listed) field("other").value = name;
    shown();
  }

  /** What is wrong with a field of JSON, which is said at it, too. */
  function wrong(name) {
    const text = field(name).value.trim();
    if (!text || (name === "schema" && field("format").value !== "json_schema")) return "";
    try {
      return CHECKS[name](JSON.parse(text));
    } catch (error) {
      return `This is no JSON: ${error.message}`;
    }
  }

  function shown() {
    field("other").hidden = field("model").value !== "";
    $('[data-of="json_schema"]', form).hidden = field("format").value !== "json_schema";
    for (const name of Object.keys(CHECKS)) say(field(name), wrong(name));
    for (const slider of $$("[data-moves]", form)) if (field(slider.dataset.moves).value !== "") slider.value = field(slider.dataset.moves).value;
    choices();
    const tools = functions();
    $('[data-part="tools"] .note', form).textContent = tools.length ? tools.join(", ") : "";
    $('[data-part="format"] .note', form).textContent = field("format").value ? field("format").selectedOptions[0].textContent : "";
    state();
  }

  /** Of the chosen model: what one should know before it is asked. */
  function state() {
    const { reason, description } = field("model").selectedOptions[0]?.dataset ?? {};
    const note = $(".state", form);
    note.classList.toggle("muted", !reason);
    const now = reason ?? description ?? "";
    if (note.textContent !== now) note.textContent = now;
  }

  /** Names of the functions. */
  function functions() {
    try {
      return JSON.parse(field("tools").value).map((one) => one.function?.name).filter(Boolean);
    } catch {
      return [];
    }
  }

  function choices() {
    const select = field("tool_choice");
    const now = functions().map((name) => `function:${name}`);
    const before = [...select.options].map((one) => one.value).filter((one) => one.startsWith("function:"));
    if (now.join() === before.join()) return;
    const chosen = select.value;
    for (const one of [...select.options]) if (one.value.startsWith("function:")) one.remove();
    select.append(...now.map((one) => h("option", { value: one }, one.slice("function:".length))));
    select.value = [...select.options].some((one) => one.value === chosen) ? chosen : "";
  }

  /** The first field whose JSON is none; it is opened for whoever is to mend it. */
  function broken() {
    const name = Object.keys(CHECKS).find(wrong);
    if (!name) return null;
    for (let outer = field(name).closest("details"); outer; outer = outer.parentElement.closest("details")) outer.open = true;
    return field(name);
  }

  /** Of the request, all but its messages. */
  function parameters() {
    const found = {};
    for (const one of form.elements) {
      if (!one.name || OWN.has(one.name) || (one.type === "checkbox" ? !one.checked : one.value.trim() === "")) continue;
      found[one.name] = one.type === "checkbox" ? true : (READ[one.dataset.type] ?? String)(one.value);
    }
    const choice = field("tool_choice").value;
    if (!found.tools?.length) delete found.parallel_tool_calls;
    else if (choice) found.tool_choice = choice.startsWith("function:") ? { type: "function", function: { name: choice.slice("function:".length) } } : choice;
    if (!found.tools?.length) delete found.tools;
    const format = field("format").value;
    if (format) found.response_format = format === "json_schema" ? { type: format, json_schema: JSON.parse(field("schema").value || "{}") } : { type: format };
    if (!found.logprobs) delete found.top_logprobs;
    if (found.stream) found.stream_options = { include_usage: true };
    return { ...found, ...JSON.parse(field("more").value || "{}") };
  }

  /** In a few words what is not as usual. */
  function summary() {
    return ["temperature", "top_p", "max_completion_tokens", "seed", "reasoning_effort"].filter((name) => field(name).value !== "").map((name) => `${name.replace("_completion_", " ").replaceAll("_", " ")} ${field(name).value}`).join(", ");
  }

  shown();
  return { kept, keep, model, choose, broken, parameters, summary, touched: changed, system: () => field("system").value.trim() };
}

function say(field, text) {
  const told = field.parentElement.querySelector(".wrong");
  field.toggleAttribute("aria-invalid", false);
  if (!text) return told?.remove();
  field.setAttribute("aria-invalid", "true");
  const id = `${field.id}-wrong`;
  field.setAttribute("aria-describedby", id);
  if (told) told.textContent = text;
  else field.after(h("p", { class: "wrong", id }, text));
}
