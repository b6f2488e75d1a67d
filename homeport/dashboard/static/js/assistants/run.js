// A run, watched: its events become messages and steps of the thread's view.
import { all, events, request } from "../core/api.js";
import { h } from "../core/dom.js";
import { number } from "../core/format.js";
import { MessageView } from "./message.js";
import { StepView, outputsWanted } from "./steps.js";

export const ACTIVE = ["queued", "in_progress", "requires_action", "cancelling"];
const WITH_PASSAGES = { order: "asc", include: ["step_details.tool_calls[*].file_search.results[*].content"] };

/** What searches of a run have found: a list of results for each, texts included. */
export async function passages(thread, run) {
  const steps = await all(`/v1/threads/${thread}/runs/${run}/steps`, { query: WITH_PASSAGES });
  return steps.flatMap((step) => (step.step_details.tool_calls ?? []).map((call) => call.file_search?.results).filter(Boolean));
}

export class Watched {
  #into;
  #messages = new Map();
  #steps = new Map();
  #watching = false;
  #answered = null;
  run = null;

  /** into: what shows the thread. changed(run): its state. name(): of the assistant. */
  constructor(thread, into, { changed, name }) {
    this.thread = thread;
    this.#into = into;
    this.changed = changed;
    this.name = name;
  }

  begin = (body) => this.#watch(`/v1/threads/${this.thread}/runs`, { body: { ...body, stream: true } });

  /** One that there is: all of it from the beginning. */
  follow = (run) => this.#watch(`/v1/threads/${this.thread}/runs/${run}`, { method: "GET", query: { stream: true } });

  submit = (outputs) => this.#watch(`/v1/threads/${this.thread}/runs/${this.run.id}/submit_tool_outputs`, { body: { tool_outputs: outputs, stream: true } });

  /** Of a run that waits for outputs nobody tells more than the answer does. */
  async cancel() {
    this.#answered = await request(`/v1/threads/${this.thread}/runs/${this.run.id}/cancel`, { method: "POST", body: {} });
    if (!this.#watching) this.#settle();
  }

  #settle() {
    const [told, answered] = [this.run, this.#answered];
    if (answered?.id === told?.id && ACTIVE.includes(told?.status) && !ACTIVE.includes(answered.status)) this.#ran(answered);
  }

  async #watch(path, options) {
    this.#watching = true;
    try {
      for await (const { event, data } of events(path, options)) this.#heard(event, data);
    } catch (error) {
      if (this.run?.status !== "failed") throw error; // a failure is told by the run, and once more by an error
    } finally {
      this.#watching = false;
      this.#settle();
    }
  }

  #heard(event, data) {
    if (data.object === "thread.run") this.#ran(data);
    else if (data.object === "thread.message.delta") this.#message(data).take(data.delta);
    else if (data.object === "thread.message") {
      const view = this.#message(data);
      if (data.status !== "in_progress") view.end(data);
    } else if (data.object === "thread.run.step.delta") this.#step(data).take(data.delta);
    else if (data.object === "thread.run.step" && data.type === "tool_calls") {
      const view = this.#step(data);
      if (event !== "thread.run.step.created" && event !== "thread.run.step.in_progress") view.end(data);
    }
  }

  #message(data) {
    if (!this.#messages.has(data.id)) {
      const run = this.run?.id;
      const view = new MessageView({ role: "assistant", ...data }, { name: this.name(), passages: () => passages(this.thread, run) });
      this.#messages.set(data.id, view);
      this.#into.append(view.element);
    }
    return this.#messages.get(data.id);
  }

  #step(data) {
    if (!this.#steps.has(data.id)) {
      const view = new StepView();
      this.#steps.set(data.id, view);
      this.#into.append(view.element);
    }
    return this.#steps.get(data.id);
  }

  #ran(run) {
    this.run = run;
    const wanted = run.status === "requires_action" ? run.required_action?.submit_tool_outputs.tool_calls : null;
    if (wanted) {
      const form = outputsWanted(wanted, (outputs) => this.submit(outputs).catch((error) => this.#into.append(wrong(error.message))));
      this.#into.append(form);
      form.querySelector("textarea").focus();
    }
    if (!ACTIVE.includes(run.status)) {
      this.#into.querySelector(".wanted")?.remove();
      this.#into.append(ending(run));
    }
    this.changed(run);
  }
}

const wrong = (text) => h("div", { class: "notice bad", role: "alert" }, text);

/** How a run has ended. */
export function ending(run) {
  if (run.status === "failed") return wrong(`${run.last_error.code}: ${run.last_error.message}`);
  const usage = run.usage ? `${number(run.usage.prompt_tokens)} + ${number(run.usage.completion_tokens)} tokens` : "";
  if (run.status === "completed") return h("p", { class: "small muted" }, `${run.model}, ${usage}`);
  return h("div", { class: "notice warn" }, [`The run is ${run.status}`, run.incomplete_details?.reason.replaceAll("_", " "), usage].filter(Boolean).join(", "), ".");
}
