// Loss and accuracy by step.
import { draw } from "../core/chart.js";
import { $ } from "../core/dom.js";
import { number, percent } from "../core/format.js";

const LOSSES = { train_loss: "Training", valid_loss: "Validation, some", full_valid_loss: "Validation, all" };
const ACCURACIES = { train_mean_token_accuracy: "Training", valid_mean_token_accuracy: "Validation, some", full_valid_mean_token_accuracy: "Validation, all" };
/** Points that a chart has: more would be nearer to each other than pixels are. */
const MOST = 1000;

export class Curves {
  #steps = new Map();
  #total = null;
  #drawing = null;
  #again = false;

  /** data: of an event of metrics. */
  add(data) {
    this.#steps.set(data.step, { ...this.#steps.get(data.step), ...data });
    this.#total = data.total_steps ?? this.#total;
  }

  /** What there is now. While one is drawn, the next waits, and is drawn once. */
  draw() {
    if (!this.#steps.size) return Promise.resolve();
    this.#again = true;
    this.#drawing ??= this.#all().finally(() => (this.#drawing = null));
    return this.#drawing;
  }

  async #all() {
    while (this.#again) {
      this.#again = false;
      const steps = [...this.#steps.values()].sort((one, other) => one.step - other.step);
      this.#say(steps);
      const shown = thinned(steps);
      await chart($("#loss"), shown, LOSSES, "Loss by step", (value) => value.toFixed(4), (value) => String(Number(value.toPrecision(4))));
      await chart($("#accuracy"), shown, ACCURACIES, "Token accuracy by step", percent, (value) => `${Math.round(100 * value)} %`);
    }
  }

  #say(steps) {
    const last = steps.at(-1);
    $("#curves").hidden = false;
    $("#waiting")?.remove();
    const of = this.#total ? ` of ${number(this.#total)}` : "";
    const latest = (name, format) => format(steps.findLast((step) => present(step[name]))?.[name]);
    const loss = latest("train_loss", (value) => value?.toFixed(4) ?? "–");
    $("[data-now=loss]").textContent = `Step ${number(last.step)}${of} · training ${loss}`;
    $("[data-now=accuracy]").textContent = `Training ${latest("train_mean_token_accuracy", percent)}`;
    const bar = $("[data-steps]");
    bar.hidden = !this.#total;
    if (this.#total) bar.value = last.step / this.#total;
  }
}

const present = (value) => value !== undefined && value !== null;

/** format: of numbers in the table; mark: of those at the axis. */
async function chart(element, steps, names, label, format, mark) {
  const series = Object.entries(names)
    .map(([name, said]) => ({ name: said, values: steps.map((step) => step[name] ?? null) }))
    .filter((one) => one.values.some(present));
  if (!series.length) return;
  element.hidden = false;
  await draw(element, { x: steps.map((step) => step.step), series, time: false, label, format, axis: mark });
}

/** Every nth, and whatever was measured on held-out examples. */
function thinned(steps) {
  const every = Math.ceil(steps.length / MOST);
  return steps.filter((step, index) => index % every === 0 || present(step.valid_loss) || present(step.full_valid_loss) || index === steps.length - 1);
}
