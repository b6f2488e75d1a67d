// The embeddings playground: texts in, how near they are to each other out.
import { $, h, icon } from "../core/dom.js";
import { ask } from "../core/api.js";
import { showCode } from "../core/code.js";
import { submits } from "../core/form.js";
import { number } from "../core/format.js";
import { cost } from "../core/receipt.js";
import { matrix, similarities } from "../embeddings/similarity.js";
import { neighbours } from "../embeddings/neighbours.js";

const EXAMPLE = ["The cat sleeps on the warm windowsill.", "A kitten naps in the sun.", "Our invoice was not paid in time.", "The bank charges a fee for late payments.", "Boats come home to the harbour in the evening.", "Ships return to port at dusk."];
const PATH = "/v1/embeddings";
const form = $("#compare");
const field = (name) => form.elements.namedItem(name);
const KEPT = `homeport.embeddings.${form.dataset.project}`;

const texts = () => field("input").value.split("\n").map((line) => line.trim()).filter(Boolean);

function body() {
  const dimensions = Number(field("dimensions").value);
  return { model: field("model").value || field("other").value.trim(), input: texts(), ...(dimensions && { dimensions }) };
}

function shown() {
  const count = texts().length;
  $("#count").textContent = count ? `${count} ${count === 1 ? "text" : "texts"}` : "";
  const option = field("model").selectedOptions[0];
  field("other").hidden = field("model").value !== "";
  $("#state").textContent = option?.dataset.reason ?? "";
  sessionStorage.setItem(KEPT, JSON.stringify({ input: field("input").value, model: field("model").value, other: field("other").value, dimensions: field("dimensions").value }));
}

submits(form, async () => {
  const asked = body();
  let request = null;
  const answer = await (await ask(PATH, { method: "POST", body: asked, opened: (response) => (request = response.headers.get("x-request-id")) })).json();
  const vectors = answer.data.toSorted((one, other) => one.index - other.index).map((one) => one.embedding);
  result(asked, answer, vectors, request);
});

function result(asked, answer, vectors, request) {
  const near = similarities(vectors);
  const figures = h(
    "div",
    { class: "row figures small muted" },
    h("span", {}, h("strong", {}, number(vectors[0].length)), " dimensions"),
    h("span", {}, h("strong", {}, number(answer.usage.prompt_tokens)), " tokens"),
    request && h("span", {}, "Cost: ", cost(request)),
    answer.model !== asked.model && h("span", {}, "Answered by ", h("strong", {}, answer.model)),
  );
  const into = $("#result");
  into.replaceChildren(
    h("section", { class: "card", "aria-labelledby": "matrix-title" }, h("div", { class: "row between" }, h("h2", { id: "matrix-title" }, "Similarity"), figures), matrix(asked.input, near)),
    ...(vectors.length > 1 ? [neighbours(asked.input, near)] : []),
    vectorsOf(asked.input, vectors),
  );
  into.hidden = false;
  into.scrollIntoView({ block: "nearest" });
}

/** The numbers themselves, for whoever wants to see them. */
function vectorsOf(input, vectors) {
  const few = 8;
  const rows = vectors.map((vector, at) => h("tr", {}, h("th", { scope: "row", class: "number" }, String(at + 1)), h("td", {}, h("span", { class: "clip", title: input[at] }, input[at])), h("td", { class: "mono" }, `[${vector.slice(0, few).map((one) => one.toFixed(4)).join(", ")}${vector.length > few ? ", …" : ""}]`)));
  const saved = h("a", { class: "button tiny", download: "embeddings.json", href: URL.createObjectURL(new Blob([JSON.stringify(input.map((text, at) => ({ text, embedding: vectors[at] })))], { type: "application/json" })) }, icon("download"), "Download");
  return h("details", { class: "card" }, h("summary", {}, "Vectors"), h("div", { class: "scroll" }, h("table", {}, h("caption", { class: "visually-hidden" }, "The first numbers of each vector"), h("tbody", {}, rows))), h("div", { class: "row end" }, saved));
}

$("[data-example]").addEventListener("click", () => {
  field("input").value = EXAMPLE.join("\n");
  shown();
});
$("[data-code]").addEventListener("click", () => showCode({ path: PATH, body: body() }));
for (const one of form.elements) one.addEventListener("input", shown);

const ready = [...field("model").options].find((one) => one.value && ["ready", undefined].includes(one.dataset.state));
const found = JSON.parse(sessionStorage.getItem(KEPT) ?? "null") ?? { model: ready?.value };
for (const [name, value] of Object.entries(found)) if (value) field(name).value = value;
if (found.other && !found.model) field("model").value = "";
shown();
