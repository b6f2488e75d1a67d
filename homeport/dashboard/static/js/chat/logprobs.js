// How sure a model was of each token, and what else it might have said.
import { h } from "../core/dom.js";

const MOST = 400;

export function logprobs(tokens) {
  const alternatives = tokens.some((one) => one.top_logprobs?.length);
  const rows = tokens.slice(0, MOST).map((one) =>
    h("tr", {}, h("td", {}, token(one.token)), h("td", { class: "number" }, probability(one)), alternatives && h("td", {}, (one.top_logprobs ?? []).map((other) => h("span", { class: "alternative" }, token(other.token), ` ${probability(other)}`)))),
  );
  const head = h("tr", {}, h("th", {}, "Token"), h("th", { class: "number" }, "Probability"), alternatives && h("th", {}, "Alternatives"));
  const made = h("details", { class: "logprobs" }, h("summary", {}, "Log probabilities"), h("div", { class: "scroll" }, h("table", {}, h("caption", { class: "visually-hidden" }, "Tokens and their probabilities"), h("thead", {}, head), h("tbody", {}, rows))));
  if (tokens.length > MOST) made.append(h("p", { class: "small muted" }, `The first ${MOST} of ${tokens.length} tokens.`));
  return made;
}

const token = (text) => h("code", {}, JSON.stringify(text).slice(1, -1).replaceAll(" ", "␣"));
const probability = ({ logprob }) => `${(100 * Math.exp(logprob)).toFixed(1)} %`;
