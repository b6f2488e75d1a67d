// Sound that is written down.
import { ask, events } from "../core/api.js";
import { showCode } from "../core/code.js";
import { $, $$, h } from "../core/dom.js";
import { size } from "../core/format.js";
import { valuesOf } from "../core/form.js";
import { cost } from "../core/receipt.js";
import { about } from "./about.js";
import { record, trouble } from "./recorder.js";
import { clock, showText, showVerbose } from "./transcript.js";

let sound = null;
let recording = null;

export function hearing() {
  const form = $("#hear");
  if (!form) return;
  form.elements.model.addEventListener("change", () => fit(form));
  for (const id of ["task", "shape"]) $(`#${id}`).addEventListener("change", () => fit(form));
  $("#record").addEventListener("click", () => (recording ? stopRecording() : startRecording()));
  $("#file").addEventListener("change", (event) => take(event.target.files[0]));
  dropping($("#sound-drop"));
  $("#hear-code").addEventListener("click", () => {
    const { path, body } = asked(form);
    showCode({ path, body, files: { file: sound?.name ?? "speech.mp3" } });
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    hear(form);
  });
  fit(form);
}

/** The fields that there are for the task and the answer that were chosen. */
function fit(form) {
  const [task, shape] = [$("#task").value, $("#shape").value];
  for (const field of $$("[data-task], [data-shape]", form)) {
    const on = (field.dataset.task ?? task) === task && (field.dataset.shape ?? shape).split(" ").includes(shape);
    field.hidden = !on;
    $("input", field).disabled = !on;
  }
  about(form.elements.model.selectedOptions[0], $("#listener-about"));
}

function asked(form) {
  const body = valuesOf(form);
  if (!$("#words").disabled && $("#words").checked) body.timestamp_granularities = ["segment", "word"];
  if (!$("#stream").disabled && $("#stream").checked) body.stream = true;
  return { path: `/v1/audio/${$("#task").value}`, body };
}

async function startRecording() {
  const wrong = $("#mic-wrong");
  wrong.hidden = true;
  try {
    recording = await record({ level: (value) => ($("#level").value = value), seconds: (value) => ($("#clock").textContent = clock(value, 0)) });
  } catch (error) {
    wrong.textContent = trouble(error);
    wrong.hidden = false;
    return;
  }
  showRecording(true);
}

async function stopRecording() {
  const stopped = recording;
  recording = null;
  showRecording(false);
  take(await stopped.stop());
}

function showRecording(on) {
  $("#record").classList.toggle("live", on);
  $("#record span").textContent = on ? "Stop recording" : "Record";
  $("#record use").setAttribute("href", on ? "#icon-stop" : "#icon-mic");
  $("#recording").hidden = !on;
  $("#hearing-status").textContent = on ? "Recording …" : "";
}

function take(file) {
  if (!file) return;
  sound = file;
  $("#sound-name").textContent = `${file.name}, ${size(file.size)}`;
  const audio = $("#sound");
  URL.revokeObjectURL(audio.src);
  audio.src = URL.createObjectURL(file);
  audio.hidden = false;
  audio.ontimeupdate = null;
  audio.addEventListener("loadedmetadata", () => measured(audio), { once: true });
}

/** What was recorded says not how long it is, until one has looked at its end. */
function measured(audio) {
  if (Number.isFinite(audio.duration)) return;
  audio.addEventListener("durationchange", () => (audio.currentTime = 0), { once: true });
  audio.currentTime = 1e6;
}

async function hear(form) {
  if (recording) await stopRecording();
  const status = $("#hearing-status");
  const heard = $("#heard");
  if (!sound) {
    $("#file").focus();
    status.textContent = "Record something, or choose a file.";
    return;
  }
  const { path, body } = asked(form);
  const stopping = new AbortController();
  const stop = $("#stop-hearing");
  stop.hidden = false;
  stop.onclick = () => stopping.abort();
  status.textContent = "Listening …";
  heard.replaceChildren(h("div", { class: "card" }, h("span", { class: "spin", "aria-hidden": "true" })));
  const shown = { name: sound.name.replace(/\.\w+$/, ""), format: body.response_format, audio: $("#sound") };
  let request;
  const options = { form: formOf(body), signal: stopping.signal, opened: (response) => (request = response.headers.get("x-request-id")) };
  try {
    if (body.stream) await listened(path, options, heard, shown);
    else {
      const response = await ask(path, { method: "POST", ...options });
      if (body.response_format === "verbose_json") showVerbose(heard, await response.json(), shown);
      else showText(heard, body.response_format === "json" ? (await response.json()).text : await response.text(), shown);
    }
    status.replaceChildren("Written down. ", cost(request));
  } catch (error) {
    if (error.name !== "AbortError") heard.replaceChildren(h("div", { class: "notice bad", role: "alert" }, error.message));
    else $(".spin", heard)?.remove();
    status.textContent = error.name === "AbortError" ? "Stopped." : "";
  } finally {
    stop.hidden = true;
  }
}

/** As it is heard. */
async function listened(path, options, element, shown) {
  const text = h("p", { class: "heard-text", "aria-live": "polite" });
  element.replaceChildren(h("div", { class: "card" }, text));
  for await (const { data } of events(path, options)) {
    if (data.type === "transcript.text.delta") text.append(data.delta);
    else if (data.type === "transcript.text.done") showText(element, data.text, shown);
  }
}

function formOf(body) {
  const form = new FormData();
  for (const [name, value] of Object.entries(body)) {
    for (const one of [value].flat()) form.append(Array.isArray(value) ? `${name}[]` : name, String(one));
  }
  form.append("file", sound, sound.name);
  return form;
}

function dropping(drop) {
  for (const name of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop") take(event.dataTransfer.files[0]);
    });
  }
}
