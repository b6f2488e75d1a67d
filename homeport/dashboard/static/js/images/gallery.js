// The pictures of this tab, the newest first, and those that are being drawn before them.
import { h, icon } from "../core/dom.js";
import * as store from "./store.js";

export class Gallery {
  #list;
  #changed;
  #ids = 0;
  pictures = [];

  /** shows(picture): somebody wants to see one. changed(): another number of them. */
  constructor(list, { shows, changed }) {
    this.#list = list;
    this.shows = shows;
    this.#changed = changed;
  }

  async open() {
    for (const picture of (await store.kept()).reverse()) this.#put(picture);
    this.#changed();
  }

  /** picture: {blob, prompt, model, kind, revised?, request?}. Returns it once it is kept. */
  async add(given) {
    const picture = { id: `${Date.now()}-${this.#ids++}`, at: Date.now() + this.#ids / 1000, ...given };
    await store.keep(picture);
    this.#put(picture);
    this.#changed();
    return picture;
  }

  remove(picture) {
    store.forget(picture.id);
    this.pictures = this.pictures.filter((one) => one !== picture);
    picture.item.remove();
    URL.revokeObjectURL(picture.url);
    this.#changed();
  }

  /** A place for what is being drawn: {partial(blob), failed(error), end()}. */
  pending(prompt, { stop, again }) {
    const began = performance.now();
    const time = h("span", {}, "0 s");
    const shot = h("div", { class: "shot" }, h("div", { class: "over small" }, h("span", { class: "spin", "aria-hidden": "true" }), time));
    const stopping = h("button", { class: "tiny", onclick: stop }, icon("stop"), "Stop");
    const item = h("li", {}, shot, h("span", { class: "title small" }, prompt), h("div", {}, stopping));
    const ticking = setInterval(() => (time.textContent = `${Math.floor((performance.now() - began) / 1000)} s`), 1000);
    this.#list.prepend(item);
    return {
      partial: (blob) => {
        const img = h("img", { alt: "The picture in the making", src: URL.createObjectURL(blob) });
        img.addEventListener("load", () => URL.revokeObjectURL(img.src));
        shot.querySelector("img")?.remove();
        shot.prepend(img);
      },
      failed: (error) => {
        const close = h("button", { class: "tiny", onclick: () => item.remove() }, "Close");
        const repeat = again && h("button", { class: "tiny", onclick: () => (item.remove(), again()) }, icon("refresh"), "Use the prompt");
        item.className = "failed";
        item.replaceChildren(h("div", { class: "notice bad", role: "alert" }, error.message), h("span", { class: "title small" }, prompt), h("div", { class: "row" }, repeat, close));
        clearInterval(ticking);
      },
      end: () => {
        clearInterval(ticking);
        item.remove();
      },
    };
  }

  #put(picture) {
    picture.url = URL.createObjectURL(picture.blob);
    const img = h("img", { src: picture.url, alt: picture.prompt, loading: "lazy" });
    const button = h("button", { class: "shot", "aria-label": `Show: ${picture.prompt}`, onclick: () => this.shows(picture) }, img);
    picture.item = h("li", {}, button, h("span", { class: "title small" }, picture.prompt), h("span", { class: "small muted" }, picture.kind === "own" ? "brought here" : picture.model));
    this.#list.prepend(picture.item);
    this.pictures.unshift(picture);
  }
}
