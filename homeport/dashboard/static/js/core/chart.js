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
 * Draw into an element with class `chart`. Call again with other data: it is drawn anew, and the table stays open.
 *
 * x: numbers (unix seconds where `time`; of days of UTC where `utc`); series: [{name, values, format?, dash?}], values as
 * long as x, null is a gap. kind: "lines", "bars" (side by side is not told apart: one series) or "stacked" (bars on one
 * another). format: of values; axis: of those at the axis, where that is another.
 */
export async function draw(element, given) {
  const { x, series, kind = "lines", time = true, utc = false, format = String, axis = format, label, height = 240 } = given;
  style("uPlot.min.css");
  const uPlot = await script("uPlot.iife.min.js", "uPlot");
  element.homeport?.destroy();
  const colours = series.map((_, index) => resolved(`--series-${(index % 8) + 1}`));
  const [muted, line] = [resolved("--muted"), resolved("--line")];
  const font = `12px ${colour("--sans")}`;
  const values = kind === "stacked" ? piled(series.map((one) => one.values)) : series.map((one) => one.values);
  const order = kind === "stacked" ? series.map((_, index) => series.length - 1 - index) : series.map((_, index) => index);
  const bars = kind !== "lines";
  const step = Math.min(...x.slice(1).map((at, index) => at - x[index]), Infinity);
  const half = (step === Infinity ? 1 : step) / 2;
  const axes = { stroke: muted, font, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
  const options = {
    width: element.clientWidth || 600,
    height,
    tzDate: utc ? (at) => uPlot.tzDate(new Date(1000 * at), "Etc/UTC") : undefined,
    legend: { show: false },
    cursor: { points: { show: !bars }, drag: { x: false, y: false }, y: false },
    scales: {
      x: { time, range: bars ? (_, least, most) => [least - half, most + half] : undefined },
      y: { range: bars ? (_, __, most) => [0, most > 0 ? most * 1.08 : 1] : undefined },
    },
    axes: [{ ...axes, values: time ? (_, at, __, ___, apart) => ticks(at, apart, utc) : undefined }, { ...axes, size: (_, told) => room(told, font), values: (_, found) => found.map((one) => axis(one)) }],
    series: [
      {},
      ...order.map((index) => ({
        label: series[index].name,
        stroke: colours[index],
        fill: bars ? colours[index] : undefined,
        width: bars ? 0 : 2,
        dash: series[index].dash,
        spanGaps: true,
        paths: bars ? uPlot.paths.bars({ size: [0.75, 48] }) : undefined,
        points: { show: !bars && x.length < 40 },
      })),
    ],
    hooks: { setCursor: [(plot) => told(plot.cursor.idx)] },
  };
  const open = element.querySelector("details")?.open ?? false;
  element.replaceChildren();
  element.setAttribute("role", "figure");
  if (label) element.setAttribute("aria-label", label);
  const plot = (element.homeport = new uPlot(options, [x, ...order.map((index) => values[index])], element));
  const said = readout({ x, series, colours, time, utc, format });
  const told = (index) => said.show(index);
  element.append(said.element, table({ x, series, time, format, label, open }));
  watched(element, plot, height);
  element.redraw = () => draw(element, given);
}

addEventListener("homeport:theme", redrawn);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawn);
function redrawn() {
  for (const element of document.querySelectorAll(".chart")) element.redraw?.();
}

function watched(element, plot, height) {
  element.resizing?.disconnect();
  element.resizing = new ResizeObserver(() => {
    if (element.clientWidth && element.clientWidth !== plot.width) plot.setSize({ width: element.clientWidth, height });
  });
  element.resizing.observe(element);
}

/** At the axis: days, and hours where they are less than a day apart. */
function ticks(at, apart, utc) {
  const zone = utc ? "UTC" : undefined;
  const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", timeZone: zone });
  const hour = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", timeZone: zone });
  let before = "";
  return at.map((one) => {
    const date = new Date(1000 * one);
    const today = day.format(date);
    const said = apart >= 86_400 ? today : today === before ? hour.format(date) : `${hour.format(date)}\n${today}`;
    before = today;
    return said;
  });
}

const pen = document.createElement("canvas").getContext("2d");
/** Pixels that the words beside an axis need. */
function room(words, font) {
  pen.font = font;
  return 20 + Math.max(24, ...(words ?? []).map((one) => pen.measureText(one).width));
}

function piled(rows) {
  let below = null;
  return rows.map((row) => (below = row.map((value, index) => (value ?? 0) + (below?.[index] ?? 0))));
}

/** What the colours are, and while somebody points at the chart how much each is there. */
function readout({ x, series, colours, time, utc, format }) {
  const moment = new Intl.DateTimeFormat(undefined, utc ? { dateStyle: "medium", timeZone: "UTC" } : { dateStyle: "medium", timeStyle: "short" });
  const when = h("span", { class: "when" });
  const values = series.map(() => h("b"));
  const names = series.map((one, index) => {
    const made = h("span", { class: "name" }, one.name, " ", values[index]);
    made.style.setProperty("--series", colours[index]);
    return made;
  });
  const show = (index) => {
    const there = index !== null && index !== undefined;
    when.textContent = there ? (time ? moment.format(new Date(1000 * x[index])) : String(x[index])) : "";
    for (const [place, one] of series.entries()) {
      const value = there ? one.values[index] : null;
      values[place].textContent = value === null || value === undefined ? "" : (one.format ?? format)(value);
    }
  };
  return { element: h("div", { class: "legend" }, names, when), show };
}

/** Its rows are made once somebody wants to see them: there may be thousands. */
function table({ x, series, time, format, label, open }) {
  const say = time ? (at) => new Date(1000 * at).toISOString().slice(0, 16).replace("T", " ") : String;
  const head = h("tr", {}, h("th", {}, time ? "Time (UTC)" : "Step"), series.map((one) => h("th", { class: "number" }, one.name)));
  const row = (at, index) => h("tr", {}, h("td", { class: "nowrap" }, say(at)), series.map((one) => h("td", { class: "number" }, one.values[index] === null ? "" : (one.format ?? format)(one.values[index]))));
  const body = h("tbody");
  const whole = h("table", {}, h("caption", { class: "visually-hidden" }, label ?? "Values"), h("thead", {}, head), body);
  const made = h("details", { class: "small", open }, h("summary", {}, "As a table"), h("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": label ?? "Values" }, whole));
  const fill = () => made.open && !body.hasChildNodes() && body.append(...x.map(row));
  made.addEventListener("toggle", fill);
  fill();
  return made;
}
