import { $, $$, h } from "../core/dom.js";
import { showCode } from "../core/code.js";
import { confirmed } from "../core/dialog.js";
import { valuesOf } from "../core/form.js";
import { complain, toast } from "../core/toast.js";
import { drawn, generation, withBytes } from "../images/drawing.js";
import { Editor } from "../images/editor.js";
import { family, sees } from "../images/families.js";
import { Gallery } from "../images/gallery.js";
import { Lightbox } from "../images/lightbox.js";

const form = $("#draw");
if (form) start();

function start() {
  const gallery = new Gallery($("#gallery"), { shows: (picture) => lightbox.show(picture), changed: () => count(gallery) });
  const editor = new Editor((picture, { body, mask }) => draw(gallery, "edit", "/v1/images/edits", { body, files: { image: picture.blob, ...(mask && { mask }) }, prompt: body.prompt }));
  const lightbox = new Lightbox(gallery, {
    edit: (picture) => editor.show(picture, chosen()).catch(complain),
    vary: (picture) => draw(gallery, "variation", "/v1/images/variations", { body: withBytes({ model: chosen() }), files: { image: picture.blob }, prompt: picture.prompt }),
    again: (picture) => use(picture.prompt),
  });
  form.elements.model.addEventListener("change", fit);
  form.elements.size.addEventListener("change", ownSize);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const body = generation(valuesOf(form));
    draw(gallery, "generation", "/v1/images/generations", { body, prompt: body.prompt });
  });
  $("#prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  $("#code").addEventListener("click", () => showCode({ path: "/v1/images/generations", body: generation({ prompt: $("#prompt").placeholder, ...valuesOf(form) }) }));
  $("#clear").addEventListener("click", async () => {
    if (await confirmed("Delete all pictures of this gallery?")) for (const picture of [...gallery.pictures]) gallery.remove(picture);
  });
  bringing(gallery, (picture) => lightbox.show(picture));
  const remembered = localStorage.getItem("homeport.images.model");
  if ([...form.elements.model.options].some((one) => one.value === remembered)) form.elements.model.value = remembered;
  fit();
  gallery.open();
}

/** What really draws, by its own name, which takes edits and variations where OpenAI's name for it does not. */
function chosen() {
  const option = form.elements.model.selectedOptions[0];
  return option.dataset.root ?? option.value;
}

async function draw(gallery, kind, path, { body, files, prompt }) {
  const stopping = new AbortController();
  const place = gallery.pending(prompt, { stop: () => stopping.abort(), again: kind === "generation" && (() => use(prompt)) });
  let request;
  let made = 0;
  say("Drawing …");
  try {
    const opened = (response) => (request = response.headers.get("x-request-id"));
    for await (const { partial, picture, revised } of drawn(path, { body, files, signal: stopping.signal, opened })) {
      if (partial) place.partial(partial);
      else await gallery.add({ blob: picture, prompt, revised, model: body.model, kind, request });
      made += picture ? 1 : 0;
    }
    place.end();
    say(made === 1 ? "One picture drawn." : `${made} pictures drawn.`);
  } catch (error) {
    if (error.name === "AbortError") {
      place.end();
      say("Stopped.");
    } else {
      place.failed(error);
      say("");
    }
  }
}

function use(prompt) {
  $("#prompt").value = prompt;
  $("#prompt").focus();
}

const say = (text) => ($("#said").textContent = text);

function count(gallery) {
  const some = gallery.pictures.length > 0;
  $("#clear").hidden = !some;
  $("#drop-text").hidden = some;
}

/** The fields that the chosen name takes. */
function fit() {
  const option = form.elements.model.selectedOptions[0];
  const { sizes, most, own, quality, takes } = family(option.value);
  localStorage.setItem("homeport.images.model", option.value);
  const about = $("#about");
  about.textContent = option.dataset.reason ?? option.dataset.description ?? "";
  about.hidden = !about.textContent;
  options(form.elements.size, [...sizes, ...(own ? [["own", "other …"]] : [])]);
  form.elements.n.max = most;
  form.elements.n.disabled = most === 1;
  if (Number(form.elements.n.value) > most) form.elements.n.value = most;
  options(form.elements.quality, quality);
  const shown = new Set([...takes, ...(quality.length ? ["quality"] : []), ...(option.dataset.root ? ["seed"] : [])]);
  for (const field of $$("[data-takes]", form)) {
    const on = shown.has(field.dataset.takes);
    field.hidden = !on;
    $("input, select", field).disabled = !on;
  }
  form.elements.partial_images.value = sees(option) ? "3" : "";
  ownSize();
}

function options(select, values) {
  const before = select.value;
  select.replaceChildren(...values.map((one) => (Array.isArray(one) ? h("option", { value: one[0] }, one[1]) : h("option", {}, one))));
  if (values.some((one) => [one].flat()[0] === before)) select.value = before;
}

function ownSize() {
  const on = form.elements.size.value === "own";
  const field = $("[data-own-size]");
  field.hidden = !on;
  form.elements.own_size.disabled = !on;
  form.elements.own_size.required = on;
}

/** Pictures of one's own, chosen or dropped. */
function bringing(gallery, shows) {
  const drop = $("#drop");
  const bring = async (files) => {
    const pictures = [...files].filter((file) => /^image\/(png|jpeg|webp)$/.test(file.type));
    if (pictures.length < files.length) toast("Pictures are PNG, JPEG or WebP.", { bad: true });
    for (const file of pictures) shows(await gallery.add({ blob: file, prompt: file.name, kind: "own" }));
  };
  $("#own").addEventListener("change", (event) => {
    bring([...event.target.files]);
    event.target.value = "";
  });
  for (const name of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop") bring(event.dataTransfer.files);
    });
  }
}
