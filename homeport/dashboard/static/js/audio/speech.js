// Text that is spoken.
import { ask } from "../core/api.js";
import { showCode } from "../core/code.js";
import { $, h, icon } from "../core/dom.js";
import { duration, number, size } from "../core/format.js";
import { valuesOf } from "../core/form.js";
import { cost } from "../core/receipt.js";
import { about } from "./about.js";
import { player } from "./player.js";

/** Of an upstream's model nobody tells them: these are OpenAI's. */
const VOICES = ["alloy", "ash", "ballad", "coral", "echo", "fable", "onyx", "nova", "sage", "shimmer", "verse", "marin", "cedar"];

export function speech() {
  const form = $("#speak");
  if (!form) return;
  const status = $("#speech-status");
  const known = JSON.parse(form.elements.model.dataset.voices);
  const fit = () => fitModel(form, known);
  form.elements.model.addEventListener("change", fit);
  form.elements.speed.addEventListener("input", () => ($("#speed-said").textContent = `${form.elements.speed.value}×`));
  form.elements.input.addEventListener("input", () => ($("#count").textContent = `${number(form.elements.input.value.length)} of 4,096 characters.`));
  form.elements.input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  $("#speak-code").addEventListener("click", () => {
    const body = { input: form.elements.input.placeholder, ...asked(form) };
    showCode({ path: "/v1/audio/speech", body, saves: `speech.${body.response_format}` });
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    say(asked(form), status);
  });
  fit();
}

function asked(form) {
  const body = valuesOf(form);
  if (body.speed === 1) delete body.speed;
  return body;
}

function fitModel(form, known) {
  const option = form.elements.model.selectedOptions[0];
  const voices = known[option.value];
  const before = form.elements.voice.value;
  const names = voices ? Object.entries(voices) : VOICES.map((name) => [name, name]);
  const one = new Set(names.map(([, heard]) => heard)).size === 1 && names.length > 1;
  form.elements.voice.replaceChildren(...names.map(([name, heard]) => h("option", { value: name }, one || heard === name ? name : `${name} (${heard})`)));
  if (names.some(([name]) => name === before)) form.elements.voice.value = before;
  $("#one-voice").hidden = !one;
  const local = Boolean(option.dataset.root); // those of this machine refuse instructions
  $("#instructions-field").hidden = local;
  form.elements.instructions.disabled = local;
  about(option, $("#speaker-about"));
}

async function say(body, status) {
  const stopping = new AbortController();
  const format = body.response_format;
  const sound = player(format);
  const facts = h("div", { class: "row small muted" }, h("span", { class: "spin", "aria-hidden": "true" }));
  const stop = h("button", { class: "tiny", onclick: () => stopping.abort() }, icon("stop"), "Stop");
  const take = h("li", { class: "card" }, h("p", {}, body.input), sound.audio, h("div", { class: "row between" }, facts, stop));
  $("#takes").prepend(take);
  status.textContent = "Speaking …";
  const began = performance.now();
  let request;
  let first;
  try {
    const response = await ask("/v1/audio/speech", { method: "POST", body, signal: stopping.signal, opened: (one) => (request = one.headers.get("x-request-id")) });
    for (const reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      first ??= performance.now() - began;
      sound.take(value);
    }
    const whole = sound.end();
    const download = h("a", { class: "button tiny", href: URL.createObjectURL(whole), download: `speech.${format}` }, icon("download"), "Download");
    stop.replaceWith(download);
    facts.replaceChildren(...[`${body.model}, ${body.voice}`, `${format}, ${size(whole.size)}`, `first sound after ${duration(first / 1000)}`].map((one) => h("span", {}, one)), cost(request));
    status.textContent = "Said.";
  } catch (error) {
    sound.audio.remove();
    const stopped = error.name === "AbortError";
    if (stopped) take.remove();
    else {
      facts.replaceChildren(h("span", {}, body.model));
      take.prepend(h("div", { class: "notice bad", role: "alert" }, error.message));
      stop.replaceWith(h("button", { class: "tiny", onclick: () => take.remove() }, "Close"));
    }
    status.textContent = stopped ? "Stopped." : "";
  }
}
