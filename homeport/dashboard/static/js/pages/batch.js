// One batch: its buttons, and a look into its files.
import { ask } from "../core/api.js";
import { $$, h } from "../core/dom.js";
import { complain } from "../core/toast.js";
import { acting } from "../jobs/acting.js";
import { telling } from "../jobs/told.js";

/** Lines, and bytes, that are looked at: files may be large. */
const MOST_LINES = 20;
const MOST_BYTES = 256 * 1024;

acting();
telling("Batch");
document.addEventListener("toggle", ({ target }) => target.open && target.dataset.lines && look(target), true);
document.addEventListener("homeport:renewed", ({ target }) => $$("details[data-lines][open]", target).forEach(look));

async function look(details) {
  if (details.dataset.looked) return;
  details.dataset.looked = "yes";
  try {
    const { lines, more } = await beginning(details.dataset.lines);
    const head = h("tr", {}, ["custom_id", "Status", "What it says"].map((word) => h("th", {}, word)));
    details.append(
      h("div", { class: "scroll" }, h("table", {}, h("thead", {}, head), h("tbody", {}, lines.map(row)))),
      more ? h("p", { class: "small muted" }, `The first ${lines.length} lines. The file has all of them.`) : "",
    );
  } catch (error) {
    complain(error);
  }
}

/** Of a file: its first lines, without the rest of it. */
async function beginning(file) {
  const stop = new AbortController();
  const response = await ask(`/v1/files/${file}/content`, { signal: stop.signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let done = false;
  while (!done && text.length < MOST_BYTES && text.split("\n").length <= MOST_LINES) {
    const read = await reader.read();
    done = read.done;
    text += read.value ?? "";
  }
  stop.abort();
  const parts = text.split("\n").filter(Boolean);
  const whole = done ? parts : parts.slice(0, -1);
  return { lines: whole.slice(0, MOST_LINES).map((line) => JSON.parse(line)), more: !done || whole.length > MOST_LINES };
}

function row({ custom_id: id, response, error }) {
  return h("tr", {}, h("td", { class: "mono" }, id), h("td", {}, String(response?.status_code ?? error?.code ?? "")), h("td", { class: "said small" }, said(response?.body, error)));
}

/** In words where there are any. */
function said(body, error) {
  const found = error?.message ?? body?.error?.message ?? body?.choices?.[0]?.message?.content ?? body?.choices?.[0]?.text ?? body?.output?.flatMap((one) => one.content ?? []).map((part) => part.text ?? "").join("");
  return found || JSON.stringify(body ?? error).slice(0, 500);
}
