// The dialog in which an assistant is made and changed.
import { request } from "../core/api.js";
import { $, $$, h } from "../core/dom.js";
import { submits } from "../core/form.js";
import { Chips } from "./files.js";

const EXAMPLE = [
  {
    name: "weather",
    description: "The weather of a city.",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
];

export class Editor {
  #dialog = $("#editor");
  #form = $("#assistant-form");
  #code = new Chips($("#code-files"), $("#add-code-files"));
  #search = new Chips($("#store-files"), $("#add-store-files"));
  #assistant = null;

  /** saved(assistant): it is there. */
  constructor(saved) {
    for (const box of $$("input[type=checkbox]", this.#form)) box.addEventListener("change", () => this.#fit());
    $("#store").addEventListener("change", () => this.#fit());
    $("#example").addEventListener("click", () => ($("#functions").value = JSON.stringify(EXAMPLE, null, 2)));
    submits(this.#form, async (values) => {
      const path = this.#assistant ? `/v1/assistants/${this.#assistant.id}` : "/v1/assistants";
      saved(await request(path, { method: "POST", body: this.#body(values) }));
    });
  }

  /** assistant: null for a new one. */
  open(assistant) {
    this.#assistant = assistant;
    this.#form.reset();
    $("#editor-title").textContent = assistant ? "Edit assistant" : "New assistant";
    const { elements } = this.#form;
    const tools = assistant?.tools ?? [];
    const resources = assistant?.tool_resources ?? {};
    if (assistant && ![...elements.model.options].some((one) => one.value === assistant.model)) elements.model.append(h("option", {}, assistant.model));
    if (assistant) for (const name of ["name", "model", "instructions", "temperature", "top_p"]) elements[name].value = assistant[name] ?? "";
    $("#use-code").checked = tools.some((tool) => tool.type === "code_interpreter");
    $("#use-search").checked = tools.some((tool) => tool.type === "file_search");
    const functions = tools.filter((tool) => tool.type === "function").map((tool) => tool.function);
    $("#functions").value = functions.length ? JSON.stringify(functions, null, 2) : "";
    this.#code.show(resources.code_interpreter?.file_ids ?? []);
    this.#search.clear();
    $("#store").value = resources.file_search?.vector_store_ids?.[0] ?? "";
    this.#fit();
    this.#dialog.showModal();
  }

  #fit() {
    for (const part of $$("[data-with]", this.#form)) part.hidden = !$(`#${part.dataset.with}`).checked;
    $("#new-store").hidden = $("#store").value !== "new";
  }

  #body(values) {
    if (this.#code.uploading || this.#search.uploading) throw new Error("Files are still being uploaded.");
    const [code, search, store] = [$("#use-code").checked, $("#use-search").checked, $("#store").value];
    const functions = asList($("#functions").value).map((one) => ({ type: "function", function: one.function ?? one }));
    const kept = Object.fromEntries((this.#assistant?.tools ?? []).map((tool) => [tool.type, tool]));
    const tools = [...(code ? [{ type: "code_interpreter" }] : []), ...(search ? [kept.file_search ?? { type: "file_search" }] : []), ...functions];
    const ids = (chips) => chips.files.map((one) => one.id);
    const resources = {};
    if (code || this.#assistant) resources.code_interpreter = { file_ids: code ? ids(this.#code) : [] };
    if (search && store === "new") resources.file_search = { vector_stores: [{ file_ids: ids(this.#search) }] };
    else if (search || this.#assistant) resources.file_search = { vector_store_ids: search && store ? [store] : [] };
    const emptied = this.#assistant ? { name: null, instructions: null, temperature: null, top_p: null } : {};
    return { ...emptied, ...values, tools, tool_resources: resources };
  }
}

function asList(text) {
  if (!text.trim()) return [];
  let found;
  try {
    found = JSON.parse(text);
  } catch (error) {
    throw new Error(`Functions: this is no JSON. ${error.message}`);
  }
  return [found].flat();
}
