// The dialog in which a picture is edited.
import { $ } from "../core/dom.js";
import { showCode } from "../core/code.js";
import { valuesOf } from "../core/form.js";
import { withBytes } from "./drawing.js";
import { sees } from "./families.js";
import { Mask } from "./mask.js";

export class Editor {
  #dialog = $("#editor");
  #form = $("#edit-form");
  #picture = null;

  /** draws(picture, {body, mask}): what is wanted. */
  constructor(draws) {
    const state = $("#mask-state");
    this.mask = new Mask($("#mask"), { brush: () => Number($("#brush").value), changed: () => (state.textContent = this.mask?.empty === false ? "What is painted is drawn anew." : "No mask.") });
    $("#undo").addEventListener("click", this.mask.undo);
    $("#invert").addEventListener("click", this.mask.invert);
    $("#wipe").addEventListener("click", this.mask.clear);
    $("#rectangle").addEventListener("click", () => this.mask.rectangle(...["left", "top", "width", "height"].map((name) => Number($(`#${name}`).value))));
    this.#dialog.addEventListener("keydown", (event) => {
      if (event.key !== "z" || !(event.ctrlKey || event.metaKey) || event.target.matches("textarea")) return;
      event.preventDefault();
      this.mask.undo();
    });
    $("#edit-code").addEventListener("click", () => showCode({ path: "/v1/images/edits", body: this.#body(), files: { image: "picture.png", ...(this.mask.empty ? {} : { mask: "mask.png" }) } }));
    this.#form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const mask = this.mask.empty ? null : await this.mask.png();
      this.#dialog.close();
      draws(this.#picture, { body: this.#body(), mask });
    });
  }

  async show(picture, model) {
    this.#picture = picture;
    const base = $("#base");
    base.src = picture.url;
    base.alt = picture.prompt;
    await base.decode();
    this.mask.reset(base.naturalWidth, base.naturalHeight);
    const select = this.#form.elements.model;
    if ([...select.options].some((option) => option.value === model)) select.value = model;
    this.#dialog.showModal();
    $("#edit-prompt").focus();
  }

  #body() {
    const option = this.#form.elements.model.selectedOptions[0];
    const shown = sees(option) ? { stream: true, partial_images: 2 } : {};
    return withBytes({ ...valuesOf(this.#form), ...shown });
  }
}
