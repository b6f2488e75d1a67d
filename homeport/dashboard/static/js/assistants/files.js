// Files beside a message or an assistant, as chips: uploaded when they are chosen, gone when they are taken away.
import { request } from "../core/api.js";
import { h } from "../core/dom.js";
import { complain } from "../core/toast.js";
import { upload } from "../core/upload.js";

const names = new Map();

/** What a file is called; its id, where it is not there any more. */
export function nameOf(id) {
  if (!names.has(id)) names.set(id, request(`/v1/files/${id}`).then((file) => file.filename, () => id));
  return names.get(id);
}

export const contentOf = (id) => `/dashboard/v1/files/${encodeURIComponent(id)}/content`;

export class Chips {
  #list;
  #uses;
  #files = new Map();

  /** uses(file): [[value, label]], what it may be for; none where that is clear. */
  constructor(list, input, { uses = () => [] } = {}) {
    this.#list = list;
    this.#uses = uses;
    input.addEventListener("change", () => {
      for (const file of input.files) this.#add(file);
      input.value = "";
    });
  }

  /** {id, use} of each, in their order. */
  get files() {
    return [...this.#files.values()].filter((one) => one.id).map(({ id, select }) => ({ id, use: select?.value ?? null }));
  }

  get uploading() {
    return [...this.#files.values()].some((one) => !one.id);
  }

  clear() {
    this.#files.clear();
    this.#list.replaceChildren();
  }

  /** Those that are there already. */
  async show(ids) {
    this.clear();
    for (const id of ids) this.#chip({ id }, await nameOf(id));
  }

  async #add(file) {
    const uses = this.#uses(file);
    const select = uses.length > 1 ? h("select", { "aria-label": `What ${file.name} is for` }, uses.map(([value, label]) => h("option", { value }, label))) : uses.length ? { value: uses[0][0] } : null;
    const stopping = new AbortController();
    const entry = { select, stop: () => stopping.abort() };
    const told = h("span", { class: "muted" }, "0 %");
    const item = this.#chip(entry, file.name, told, select instanceof HTMLElement ? select : null);
    try {
      const purpose = select?.value === "picture" ? "vision" : "assistants";
      const made = await upload(file, { purpose, signal: stopping.signal, progress: (bytes) => (told.textContent = `${Math.round((100 * bytes) / (file.size || 1))} %`) });
      names.set(made.id, Promise.resolve(made.filename));
      entry.id = made.id;
      told.remove();
    } catch (error) {
      this.#files.delete(item);
      item.remove();
      complain(error);
    }
  }

  #chip(entry, name, ...more) {
    const away = h("button", { type: "button", class: "quiet tiny", "aria-label": `Take ${name} away`, onclick: () => (entry.stop?.(), this.#files.delete(item), item.remove()) }, "×");
    const item = h("li", {}, h("span", { title: name }, name), more, away);
    this.#files.set(item, entry);
    this.#list.append(item);
    return item;
  }
}
