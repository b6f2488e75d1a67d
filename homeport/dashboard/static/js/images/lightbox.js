// One picture, large, with what is known of it; arrow keys go to the others.
import { $, h } from "../core/dom.js";
import { size } from "../core/format.js";
import { cost } from "../core/receipt.js";
import { extension } from "./drawing.js";

const KINDS = { generation: "Drawn", edit: "Edited", variation: "Varied", own: "Brought here" };

export class Lightbox {
  #dialog = $("#lightbox");
  #picture = null;

  /** acts: {edit, vary, again, remove}, each of a picture. */
  constructor(gallery, acts) {
    this.gallery = gallery;
    $("#previous").addEventListener("click", () => this.#step(-1));
    $("#next").addEventListener("click", () => this.#step(1));
    this.#dialog.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) this.#step(step);
    });
    for (const name of ["edit", "vary", "again"]) {
      $(`#${name}`).addEventListener("click", () => {
        this.#dialog.close();
        acts[name](this.#picture);
      });
    }
    $("#delete").addEventListener("click", () => this.#remove());
  }

  show(picture) {
    this.#picture = picture;
    const all = this.gallery.pictures;
    const at = all.indexOf(picture);
    const shown = $("#shown");
    shown.src = picture.url;
    shown.alt = picture.prompt;
    $("#lightbox-title").textContent = KINDS[picture.kind];
    $("#lightbox-place").textContent = `${at + 1} of ${all.length}`;
    $("#previous").disabled = at === 0;
    $("#next").disabled = at === all.length - 1;
    $("#again").hidden = picture.kind !== "generation";
    const download = $("#download");
    download.href = picture.url;
    download.download = `${picture.prompt.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 48).replace(/^-|-$/g, "") || "picture"}.${extension(picture.blob)}`;
    this.#facts(picture);
    shown.decode().then(() => this.#picture === picture && this.#facts(picture), () => {});
    if (!this.#dialog.open) this.#dialog.showModal();
  }

  #facts(picture) {
    const { naturalWidth: width, naturalHeight: height } = $("#shown");
    const known = [
      [picture.kind === "own" ? "Name" : "Prompt", picture.prompt],
      ["Revised prompt", picture.revised],
      ["Model", picture.model],
      ["Size", width ? `${width} × ${height}, ${size(picture.blob.size)}` : size(picture.blob.size)],
      ["Cost", picture.request && (picture.cost ??= cost(picture.request))],
    ];
    $("#facts").replaceChildren(...known.filter(([, value]) => value).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
  }

  #step(by) {
    const all = this.gallery.pictures;
    const next = all[all.indexOf(this.#picture) + by];
    if (next) this.show(next);
  }

  #remove() {
    const all = this.gallery.pictures;
    const at = all.indexOf(this.#picture);
    const next = all[at + 1] ?? all[at - 1];
    this.gallery.remove(this.#picture);
    if (next) this.show(next);
    else this.#dialog.close();
  }
}
