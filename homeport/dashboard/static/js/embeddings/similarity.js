// Cosines of vectors, and the table of them.
import { h } from "../core/dom.js";

/** Colours of cells: from nothing in common to the same. */
const STEPS = 6;
/** Texts of which a table of all with all can still be read. */
const MOST = 40;

/** near[a][b], from -1 to 1. */
export function similarities(vectors) {
  const lengths = vectors.map((vector) => Math.hypot(...vector) || 1);
  return vectors.map((one, a) => vectors.map((other, b) => one.reduce((sum, value, at) => sum + value * other[at], 0) / (lengths[a] * lengths[b])));
}

export const step = (value) => Math.max(0, Math.min(STEPS - 1, Math.floor(value * STEPS)));
export const said = (value) => value.toFixed(3);

export function matrix(texts, near) {
  const shown = texts.slice(0, MOST);
  const head = h("tr", {}, h("td", {}), shown.map((text, at) => h("th", { scope: "col", title: text }, String(at + 1))));
  const rows = shown.map((text, a) =>
    h("tr", {}, h("th", { scope: "row", title: text }, h("span", { class: "clip" }, `${a + 1}. ${text}`)), shown.map((_, b) => h("td", { class: `cell near-${step(near[a][b])}` }, said(near[a][b])))),
  );
  const table = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Similarity of all texts" }, h("table", { class: "matrix" }, h("caption", { class: "visually-hidden" }, "Cosine similarity of each text with each"), h("thead", {}, head), h("tbody", {}, rows)));
  return texts.length > MOST ? h("div", { class: "stack tight" }, table, h("p", { class: "small muted" }, `The first ${MOST} of ${texts.length} texts. Below, each can be chosen.`)) : table;
}
