// The thread that is shown: what was said in it, and the run that has it.
import { all, request } from "../core/api.js";
import { $, h } from "../core/dom.js";
import { MessageView } from "./message.js";
import { ACTIVE, Watched, ending, passages } from "./run.js";
import { StepView } from "./steps.js";

export class Thread {
  #said = $("#said");
  id = null;
  watched = null;

  /** name(id): of an assistant. changed(run): the state of the run; null: there is none. failed(error): of watching it. */
  constructor({ name, changed, failed }) {
    this.name = name;
    this.changed = changed;
    this.failed = failed;
  }

  /** Returns the last run of it, if there was one. */
  async open(id) {
    this.id = encodeURIComponent(id);
    const [messages, runs] = await Promise.all([all(`/v1/threads/${this.id}/messages`, { query: { order: "asc" } }), request(`/v1/threads/${this.id}/runs`, { query: { limit: 1 } })]);
    const active = runs.data.find((run) => ACTIVE.includes(run.status));
    let run = null;
    for (const message of messages) {
      if (active && message.run_id === active.id) continue; // it is told anew
      if (message.run_id && message.run_id !== run) this.#append(this.#steps((run = message.run_id)));
      this.show(message);
    }
    if (active) this.#watch(active.assistant_id, (watched) => watched.follow(active.id)).catch((error) => this.failed(error));
    else if (runs.data.length) this.#append(ending(runs.data[0]));
    return runs.data[0];
  }

  async create() {
    this.id = (await request("/v1/threads", { method: "POST", body: {} })).id;
  }

  async say(body) {
    this.show(await request(`/v1/threads/${this.id}/messages`, { method: "POST", body: { role: "user", ...body } }));
  }

  run = (body) => this.#watch(body.assistant_id, (watched) => watched.begin(body));

  show(message) {
    const run = message.run_id;
    const view = new MessageView(message, { name: this.name(message.assistant_id), passages: () => (run ? passages(this.id, run) : []) });
    this.#append(view.element);
    view.end(message);
  }

  async #watch(assistant, begin) {
    this.watched = new Watched(this.id, this.#said, { name: () => this.name(assistant), changed: this.changed });
    try {
      await begin(this.watched);
    } finally {
      if (!ACTIVE.includes(this.watched.run?.status)) this.changed(this.watched.run);
    }
  }

  #append(element) {
    $("#nothing")?.remove();
    this.#said.append(element);
  }

  /** What a run did, for whoever wants to see it. */
  #steps(run) {
    const made = h("details", { class: "small" }, h("summary", { class: "muted" }, "What it did"));
    made.addEventListener("toggle", () => this.#load(made, run), { once: true });
    return made;
  }

  async #load(element, run) {
    const steps = await all(`/v1/threads/${this.id}/runs/${run}/steps`, { query: { order: "asc" } }).catch(() => []);
    const calls = steps.filter((step) => step.type === "tool_calls");
    for (const step of calls) {
      const view = new StepView();
      element.append(view.element);
      view.end(step);
    }
    if (!calls.length) element.append(h("p", { class: "muted" }, "It called no tools."));
  }
}
