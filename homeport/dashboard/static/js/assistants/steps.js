// What a run does beside talking: code with what it put out, searches with what they found, functions that wait for you.
import { h } from "../core/dom.js";
import { percent } from "../core/format.js";
import { highlight } from "../core/markdown.js";
import { picture } from "./message.js";

export class StepView {
  element = h("div", { class: "stack tight" });
  #calls = [];
  #views = [];

  /** A piece of its calls. */
  take(delta) {
    for (const piece of delta.step_details?.tool_calls ?? []) {
      const call = (this.#calls[piece.index] ??= { type: piece.type, id: piece.id });
      merge(call, piece);
    }
    this.#show();
  }

  end(step) {
    this.ended = true;
    this.#calls = step.step_details.tool_calls;
    this.#show();
    const told = step.last_error?.message ?? (["cancelled", "expired"].includes(step.status) ? `This was ${step.status}.` : "");
    if (told) this.element.append(h("p", { class: "notice warn small" }, told));
  }

  #show() {
    for (const [index, call] of this.#calls.entries()) {
      if (!call) continue;
      this.#views[index] ??= this.element.appendChild(h("details", { class: "call", open: call.type !== "file_search" }));
      VIEWS[call.type]?.(this.#views[index], call, this.ended);
    }
  }
}

const VIEWS = {
  code_interpreter(element, call, ended) {
    const { input = "", outputs = [] } = call.code_interpreter ?? {};
    const code = h("code", {}, input);
    if (ended) highlight(code, "python");
    const put = outputs.filter(Boolean).map((one) => (one.type === "image" ? picture(one.image.file_id) : h("pre", { tabindex: "0", role: "region", "aria-label": "What it printed" }, one.logs)));
    element.replaceChildren(h("summary", {}, ended ? "Ran code" : "Runs code …"), h("pre", { tabindex: "0" }, code), ...put);
  },
  file_search(element, call, ended) {
    const results = call.file_search?.results ?? [];
    const found = results.map((one) => h("li", {}, h("strong", {}, one.file_name), ` ${percent(one.score)}`, one.content?.length ? h("div", { class: "small muted" }, one.content.map((part) => part.text).join("\n").slice(0, 600)) : null));
    element.replaceChildren(h("summary", {}, ended ? `Searched files: ${results.length} passages` : "Searches files …"), found.length ? h("ol", {}, found) : h("p", { class: "small muted" }, ended ? "Nothing was found." : ""));
  },
  function(element, call) {
    const { name = "", arguments: given = "", output } = call.function ?? {};
    element.replaceChildren(h("summary", {}, `Calls ${name}`), h("pre", { tabindex: "0" }, pretty(given)), ...(output === null || output === undefined ? [] : [h("div", { class: "small muted" }, "Your output"), h("pre", { tabindex: "0" }, output)]));
  },
};

/** A form for what functions put out. submit([{tool_call_id, output}]). */
export function outputsWanted(calls, submit) {
  const fields = calls.map((call, index) => {
    const id = `output-${call.id}-${index}`;
    const area = h("textarea", { id, rows: "2", class: "code", required: true });
    return { call, area, field: h("div", { class: "field" }, h("label", { for: id }, `Output of ${call.function.name}`), area, h("p", { class: "help mono" }, call.function.arguments)) };
  });
  const form = h("form", { class: "card stack wanted", "aria-label": "Outputs of functions" }, h("h3", {}, "The run waits for your functions"), fields.map((one) => one.field), h("div", { class: "row end" }, h("button", { class: "primary" }, "Submit outputs")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    form.remove();
    submit(fields.map(({ call, area }) => ({ tool_call_id: call.id, output: area.value })));
  });
  return form;
}

function merge(call, piece) {
  if (piece.type === "function") {
    const known = (call.function ??= { name: "", arguments: "", output: null });
    known.name = piece.function.name ?? known.name;
    known.arguments += piece.function.arguments ?? "";
    known.output = piece.function.output ?? known.output;
  } else if (piece.type === "code_interpreter") {
    const known = (call.code_interpreter ??= { input: "", outputs: [] });
    known.input += piece.code_interpreter?.input ?? "";
    for (const output of piece.code_interpreter?.outputs ?? []) {
      const before = known.outputs[output.index];
      known.outputs[output.index] = before?.type === "logs" ? { type: "logs", logs: before.logs + (output.logs ?? "") } : output;
    }
  } else call.file_search = piece.file_search ?? call.file_search;
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
