// `<div class="drop" data-uploads="ID OF A SELECT" data-purpose="batch">`: a file that is dropped there, or chosen, is
// uploaded, and is then the one that is chosen.
import { request } from "../core/api.js";
import { $, $$, h } from "../core/dom.js";
import { size } from "../core/format.js";
import { complain } from "../core/toast.js";

/** seen(file): of each before it is sent. */
export function uploads(within, { seen } = {}) {
  for (const zone of $$("[data-uploads]", within)) {
    const input = $("input[type=file]", zone);
    input.addEventListener("change", () => input.files[0] && upload(zone, input.files[0], seen));
    for (const name of ["dragover", "dragleave", "drop"]) {
      zone.addEventListener(name, (event) => {
        event.preventDefault();
        zone.classList.toggle("over", name === "dragover");
        if (name === "drop" && event.dataTransfer.files[0]) upload(zone, event.dataTransfer.files[0], seen);
      });
    }
  }
}

async function upload(zone, file, seen) {
  const [select, said] = [document.getElementById(zone.dataset.uploads), $("[data-said]", zone)];
  const form = new FormData();
  form.set("purpose", zone.dataset.purpose);
  form.set("file", file);
  said.replaceChildren(h("span", { class: "spin" }), ` Sending ${file.name} (${size(file.size)}) …`);
  try {
    seen?.(file);
    const made = await request("/v1/files", { method: "POST", form });
    select.prepend(h("option", { value: made.id }, `${made.filename} · ${size(made.bytes)} · ${made.id}`));
    select.value = made.id;
    select.dispatchEvent(new Event("change", { bubbles: true }));
    said.textContent = `${made.filename} is uploaded.`;
  } catch (error) {
    said.textContent = "";
    complain(error);
  } finally {
    $("input[type=file]", zone).value = "";
  }
}
