// What a search has found: passages with their scores, the words of the question marked.
import { h } from "../core/dom.js";
import { duration } from "../core/format.js";

export function showFound(place, { data, search_query: asked }, query, milliseconds) {
  const searched = Array.isArray(asked) ? asked.join(" · ") : asked;
  const head = `${data.length} ${data.length === 1 ? "passage" : "passages"} in ${duration(milliseconds / 1000)}`;
  place.replaceChildren(
    h("p", { class: "small muted" }, searched && searched !== query ? `${head}, for “${searched}”` : head),
    h("ol", { class: "hits" }, data.map((one) => hit(one, wordsOf(`${query} ${searched ?? ""}`)))),
  );
}

function hit({ file_id: id, filename, score, content, attributes }, words) {
  const said = Object.entries(attributes ?? {}).map(([key, value]) => h("span", { class: "badge plain" }, `${key}: ${value}`));
  return h(
    "li",
    {},
    h("div", { class: "row between" }, h("a", { href: `/dashboard/files/${id}` }, filename), h("span", { class: "row small" }, said, h("progress", { class: "score", max: 1, value: score, "aria-label": "Score" }), score.toFixed(3))),
    content.map((part) => h("p", { class: "passage" }, marked(part.text, words))),
  );
}

const wordsOf = (text) => new Set((text.toLowerCase().match(/[\p{L}\p{N}]{4,}/gu) ?? []));

function marked(text, words) {
  return text.split(/([\p{L}\p{N}]+)/u).map((part) => (words.has(part.toLowerCase()) ? h("mark", {}, part) : part));
}
