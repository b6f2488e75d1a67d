// Usage: the charts of what the page came with, a table that sorts, and all of it as a file.
import { draw } from "../core/chart.js";
import { $, $$ } from "../core/dom.js";
import { money, number } from "../core/format.js";
import { complain } from "../core/toast.js";
import { save } from "../usage/csv.js";
import { sorts } from "../usage/sorting.js";

const SHORT = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });
const KINDS = {
  cost: { label: "Cost", format: money },
  listed: { label: "At list price", format: money },
  tokens: { label: "Tokens", format: number, axis: (value) => SHORT.format(value) },
  requests: { label: "Requests", format: number, axis: (value) => SHORT.format(value) },
};

const charts = $("#charts");
if (charts) {
  const { x, days, series } = JSON.parse(charts.dataset.chart);
  for (const element of $$(".chart", charts)) {
    const kind = element.dataset.of;
    const found = series.map((one) => ({ name: one.name, values: one[kind] }));
    draw(element, { x, series: found, kind: "stacked", utc: days, height: 220, ...KINDS[kind] }).catch(complain);
  }
}
for (const table of $$("table.sorts")) sorts(table);

const button = $("#csv");
button.addEventListener("click", async () => {
  button.disabled = true;
  try {
    await save(JSON.parse(button.dataset.question));
  } catch (error) {
    complain(error);
  } finally {
    button.disabled = false;
  }
});
