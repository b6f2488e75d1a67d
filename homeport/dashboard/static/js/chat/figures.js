// What is said below an answer: how it ended, how fast it was, what it used and cost.
import { h } from "../core/dom.js";
import { duration, money, number } from "../core/format.js";
import { receipt } from "../core/receipt.js";

const asked = new WeakMap();
/** Milliseconds in which nobody writes, but what was written before is sent. */
const BURST = 40;
const ENDS = {
  length: ["warn", "cut off: max tokens", "finish_reason: length"],
  content_filter: ["warn", "cut off: the content filter", "finish_reason: content_filter"],
  tool_calls: ["", "calls tools", "finish_reason: tool_calls"],
  stop: ["", "stop", "finish_reason: stop"],
};

export function figures(message) {
  const { about = {}, choices, chosen } = message;
  const { usage } = about;
  const finish = choices[chosen]?.finish;
  const parts = [];
  if (about.state === "stopped") parts.push(badge("warn", "stopped"));
  else if (finish) parts.push(badge(...(ENDS[finish] ?? ["", finish, "finish_reason"])));
  if (about.json && about.state === "done") parts.push(isJSON(choices[chosen].content) ? badge("good", "valid JSON") : badge("bad", "no valid JSON"));
  if (about.first !== undefined) parts.push(item("first token", duration(about.first / 1000)));
  const speed = perSecond(about);
  if (speed) parts.push(item("tokens/s", number(Math.round(10 * speed) / 10)));
  if (about.milliseconds !== undefined) parts.push(item("in all", duration(about.milliseconds / 1000)));
  if (usage) parts.push(item("tokens", counted(usage), "prompt + completion"));
  if (about.request && about.state !== "running") parts.push(cost(about));
  if (about.model && about.model !== about.asked) parts.push(item("answered by", about.model));
  return parts;
}

export function isJSON(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** From the first token to the last; where they came in one burst, of the whole time. */
function perSecond({ usage, first, last, milliseconds }) {
  const tokens = usage?.completion_tokens ?? 0;
  if (tokens > 1 && last - first > BURST) return ((tokens - 1) / (last - first)) * 1000;
  return tokens && milliseconds ? (tokens / milliseconds) * 1000 : null;
}

function counted(usage) {
  const cached = usage.prompt_tokens_details?.cached_tokens;
  const reasoning = usage.completion_tokens_details?.reasoning_tokens;
  return `${number(usage.prompt_tokens)}${cached ? ` (${number(cached)} cached)` : ""} + ${number(usage.completion_tokens)}${reasoning ? ` (${number(reasoning)} reasoning)` : ""}`;
}

/** By the receipt, which is asked for once. */
function cost(about) {
  const link = h("a", { href: `/dashboard/requests/${encodeURIComponent(about.request)}`, title: "The receipt of this request" }, "…");
  const say = () => (link.textContent = !about.receipt ? "receipt" : `${about.receipt.total === null ? "no price" : money(about.receipt.total)}${about.receipt.cached ? ", from the cache" : ""}`);
  if (about.receipt !== undefined) say();
  else {
    if (!asked.has(about)) asked.set(about, receipt(about.request));
    asked.get(about).then((found) => {
      about.receipt = found && { total: found.total, cached: Boolean(found.cache_hit) };
      say();
    });
  }
  return h("span", { class: "cost" }, link);
}

const badge = (kind, text, title) => h("span", { class: `badge ${kind}`, title }, text);
const item = (name, value, title) => h("span", { title }, h("span", { class: "value" }, value), ` ${name}`);
