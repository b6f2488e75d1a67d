// Usage as a file: a line for each hour or day and each group, of all groups.
import { request } from "../core/api.js";

const TOKENS = ["completions", "embeddings", "moderations"];
const COLUMNS = ["requests", "input_tokens", "output_tokens", "cost_usd", "saved_usd", "list_price_usd", "requests_without_price", "requests_without_list_price"];

/** question: the parameters of the page's own question to the API. */
export async function save(question) {
  const [group] = question.group_by;
  const paths = ["/v1/homeport/costs", ...TOKENS.map((page) => `/v1/organization/usage/${page}`)];
  const [money, ...tokens] = await Promise.all(paths.map((path) => buckets(path, question)));
  const lines = new Map();
  const line = (start, id) => {
    const key = `${start} ${id}`;
    if (!lines.has(key)) lines.set(key, { start, id, ...Object.fromEntries(COLUMNS.map((name) => [name, 0])) });
    return lines.get(key);
  };
  for (const { start_time: start, results } of money) {
    for (const one of results) {
      Object.assign(line(start, one[group] ?? ""), {
        requests: one.num_model_requests,
        cost_usd: one.amount.value,
        saved_usd: one.saved.value,
        list_price_usd: one.listed.value,
        requests_without_price: one.num_unpriced_requests,
        requests_without_list_price: one.num_unlisted_requests,
      });
    }
  }
  for (const { start_time: start, results } of tokens.flat()) {
    for (const one of results) {
      const found = line(start, one[group] ?? "");
      found.input_tokens += one.input_tokens;
      found.output_tokens += one.output_tokens ?? 0;
    }
  }
  const sorted = [...lines.values()].sort((one, other) => one.start - other.start || one.id.localeCompare(other.id));
  const rows = sorted.map((one) => [new Date(1000 * one.start).toISOString(), one.id, ...COLUMNS.map((name) => plain(one[name]))]);
  download([["start", group, ...COLUMNS], ...rows].map((row) => row.map(quoted).join(",")).join("\r\n"), `usage-${new Date(1000 * question.start_time).toISOString().slice(0, 10)}.csv`);
}

async function buckets(path, question) {
  const found = [];
  let page;
  do {
    const answer = await request(path, { query: { ...question, page } });
    found.push(...answer.data);
    page = answer.next_page;
  } while (page);
  return found;
}

/** Never `1e-7`, which tables do not all read. */
function plain(value) {
  return Math.abs(value) > 0 && Math.abs(value) < 1e-6 ? value.toFixed(12).replace(/0+$/, "") : String(value);
}

/** A name that begins as a formula does is none. */
function quoted(value) {
  const text = /^[=+@\t\r]|^-(?!\d)/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function download(text, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
