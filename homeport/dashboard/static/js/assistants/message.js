// A message of a thread: Markdown, numbered citations with what they cite below, pictures, links to files of code.
import { $, h, icon } from "../core/dom.js";
import { finish, show } from "../core/markdown.js";
import { contentOf, nameOf } from "./files.js";

let shown = 0;

export class MessageView {
  #body = h("div", { class: "body" });
  #foot = h("ol", { class: "footnotes", "aria-label": "Sources", hidden: true });
  #state = h("span", { class: "small muted" });
  #parts = [];
  #painting = false;
  #number = ++shown;
  element;

  /** passages(): [{file_id, texts}], what searches of its run have found; called once the message is whole. */
  constructor(message, { name, passages = async () => [] }) {
    this.passages = passages;
    this.role = message.role;
    const header = h("header", {}, h("strong", {}, message.role === "user" ? "You" : name), this.#state);
    this.element = h("article", { class: `card message ${message.role}` }, header, this.#body, this.#foot);
  }

  /** A piece of it. */
  take(delta) {
    for (const piece of delta.content ?? []) {
      const part = (this.#parts[piece.index] ??= { type: piece.type, text: { value: "", annotations: [] } });
      if (piece.type !== "text") Object.assign(part, piece);
      else {
        part.text.value += piece.text?.value ?? "";
        part.text.annotations.push(...(piece.text?.annotations ?? []));
      }
    }
    if (this.#painting) return;
    this.#painting = true;
    requestAnimationFrame(() => {
      this.#painting = false;
      if (!this.whole) this.#paint();
    });
  }

  /** All of it, as the API has it. */
  async end(message) {
    this.whole = true;
    this.#parts = message.content;
    if (message.status === "incomplete") this.#state.textContent = `incomplete: ${message.incomplete_details?.reason.replaceAll("_", " ") ?? "it broke off"}`;
    await this.#paint();
    if (message.attachments.length) this.#attached(message.attachments);
    await this.#quote();
  }

  async #paint() {
    const sources = new Map();
    const made = [];
    for (const part of this.#parts) {
      if (!part) continue;
      if (part.type === "image_file") made.push(picture(part.image_file.file_id));
      else if (part.type === "image_url") made.push(h("a", { href: part.image_url.url, target: "_blank", rel: "noreferrer noopener" }, part.image_url.url));
      else if (part.type === "refusal") made.push(h("p", { class: "notice warn" }, part.refusal));
      else if (this.role === "user") made.push(h("div", {}, part.text.value));
      else made.push(await this.#text(part.text, sources));
    }
    this.#body.replaceChildren(...made);
    this.#sources(sources);
  }

  async #text({ value, annotations }, sources) {
    const element = h("div");
    const text = linked(value, annotations, (annotation) => {
      const key = annotation.text;
      if (!sources.has(key)) sources.set(key, annotation.file_citation.file_id);
      return [...sources.keys()].indexOf(key) + 1;
    });
    await show(element, text);
    if (this.whole) await finish(element, text);
    for (const link of element.querySelectorAll('a[href^="#cite-"]')) {
      const at = link.getAttribute("href").slice("#cite-".length);
      link.removeAttribute("target");
      link.href = `#source-${this.#number}-${at}`;
      link.setAttribute("aria-label", `Source ${at}`);
      const sup = h("sup", { class: "cite" });
      link.replaceWith(sup);
      sup.append(link);
    }
    for (const link of element.querySelectorAll('a[href^="#file-"]')) {
      const id = link.getAttribute("href").slice("#file-".length);
      link.href = contentOf(id);
      nameOf(id).then((name) => (link.download = name.split("/").at(-1)));
    }
    return element;
  }

  #sources(sources) {
    this.#foot.hidden = sources.size === 0;
    this.#foot.replaceChildren(...[...sources].map(([marker, file], index) => h("li", { id: `source-${this.#number}-${index + 1}`, "data-marker": marker, "data-file": file }, h("span", {}, marker.match(/†(.*)】/)?.[1] ?? file))));
  }

  /** What stands there, below the name of each file. */
  async #quote() {
    if (this.#foot.hidden) return;
    const found = await this.passages().catch(() => []);
    for (const item of this.#foot.children) {
      const place = Number(item.dataset.marker.match(/:(\d+)†/)?.[1]);
      const passage = found.map((results) => results[place]).find((one) => one?.file_id === item.dataset.file);
      const text = passage?.content?.map((one) => one.text).join("\n");
      if (text) item.append(h("blockquote", { tabindex: "0" }, text));
    }
  }

  #attached(attachments) {
    const list = h("ul", { class: "chips", "aria-label": "Attached files" });
    for (const { file_id: id } of attachments) {
      const name = h("span", {}, id);
      nameOf(id).then((told) => (name.textContent = told));
      list.append(h("li", {}, icon("file"), name, " "));
    }
    this.element.append(list);
  }
}

export function picture(id) {
  return h("a", { href: contentOf(id), target: "_blank" }, h("img", { src: contentOf(id), alt: "A picture of this thread", loading: "lazy" }));
}

/** Annotations as links of Markdown. Their indices count code points. */
function linked(value, annotations, number) {
  const letters = Array.from(value);
  const sorted = [...annotations].sort((a, b) => a.start_index - b.start_index);
  const numbers = new Map(sorted.filter((one) => one.type === "file_citation").map((one) => [one, number(one)]));
  for (const one of sorted.reverse()) {
    const link = one.type === "file_citation" ? `[${numbers.get(one)}](#cite-${numbers.get(one)})` : `#file-${one.file_path.file_id}`;
    letters.splice(one.start_index, one.end_index - one.start_index, link);
  }
  return letters.join("");
}
