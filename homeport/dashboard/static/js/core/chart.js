// Charts by uPlot, in the page's colours, and the same numbers as a table for whoever cannot see them.
import { script, style } from "./library.js";
import { h } from "./dom.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
/** A canvas knows no `light-dark()`: the browser says what a colour is here and now. */
function resolved(name) {
  const probe = h("span", { hidden: true });
  document.body.append(probe);
  probe.style.color = `var(${name})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found || colour(name);
}

/**
 * Draw into an element with class `chart`. Call again with other data: it is drawn anew.
 *
 * x: numbers (unix seconds where `time`); series: [{name, values, format?, dash?}], values as long as x, null is a gap.
 * kind: "lines", "bars" (side by side is not told apart: one series) or "stacked" (bars on one another).
 */
export async function draw(element, { x, series, kind = "lines", time = true, format = String, label, height = 240 }) {
  style("uPlot.min.css");
  const uPlot = await script("uPlot.iife.min.js", "uPlot");
  element.homeport?.destroy();
  const colours = series.map((_, index) => resolved(`--series-${(index % 8) + 1}`));
  const [muted, line] = [resolved("--muted"), resolved("--line")];
  const values = kind === "stacked" ? piled(series.map((one) => one.values)) : series.map((one) => one.values);
  const order = kind === "stacked" ? series.map((_, index) => series.length - 1 - index) : series.map((_, index) => index);
  const paths = kind === "lines" ? undefined : uPlot.paths.bars({ size: [0.7, 60], radius: 0.15 });
  const axis = { stroke: muted, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
  const options = {
    width: element.clientWidth || 600,
    height,
    legend: { show: false },
    cursor: { points: { show: kind === "lines" }, drag: { x: false, y: false } },
    scales: { x: { time }, y: { range: kind === "lines" ? undefined : (_, __, most) => [0, most > 0 ? most * 1.08 : 1] } },
    axes: [axis, { ...axis, size: 64, values: (_, found) => found.map(format) }],
    series: [
      {},
      ...order.map((index) => ({
        label: series[index].name,
        stroke: colours[index],
        fill: kind === "lines" ? undefined : colours[index],
        width: kind === "lines" ? 2 : 0,
        dash: series[index].dash,
        spanGaps: true,
        paths,
        points: { show: kind === "lines" && x.length < 40 },
      })),
    ],
  };
  element.replaceChildren();
  element.setAttribute("role", "figure");
  if (label) element.setAttribute("aria-label", label);
  const plot = (element.homeport = new uPlot(options, [x, ...order.map((index) => values[index])], element));
  element.append(legend(series, colours), table({ x, series, time, format, label }));
  watched(element, plot, height);
  element.redraw = () => draw(element, { x, series, kind, time, format, label, height });
}

addEventListener("homeport:theme", () => {
  for (const element of document.querySelectorAll(".chart")) element.redraw?.();
});

function watched(element, plot, height) {
  element.resizing?.disconnect();
  element.resizing = new ResizeObserver(() => {
    if (element.clientWidth && element.clientWidth !== plot.width) plot.setSize({ width: element.clientWidth, height });
  });
  element.resizing.observe(element);
}

function piled(rows) {
  let below = null;
  return rows.map((row) => (below = row.map((value, index) => (value ?? 0) + (below?.[index] ?? 0))));
}

function legend(series, colours) {
  const made = h("div", { class: "legend" });
  for (const [index, one] of series.entries()) {
    const name = h("span", {}, one.name);
    name.style.setProperty("--series", colours[index]);
    made.append(name);
  }
  return made;
}

function table({ x, series, time, format, label }) {
  const say = time ? (at) => new Date(1000 * at).toISOString().slice(0, 16).replace("T", " ") : String;
  const head = h("tr", {}, h("th", {}, time ? "Time (UTC)" : "Step"), series.map((one) => h("th", {}, one.name)));
  const rows = x.map((at, index) => h("tr", {}, h("td", {}, say(at)), series.map((one) => h("td", { class: "number" }, one.values[index] === null ? "" : (one.format ?? format)(one.values[index])))));
  return h("details", { class: "small" }, h("summary", {}, "As a table"), h("div", { class: "scroll" }, h("table", {}, h("caption", { class: "visually-hidden" }, label ?? "Values"), h("thead", {}, head), h("tbody", {}, rows))));
}
