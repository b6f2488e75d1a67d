// Usage as a file: a line for each hour or day and each group, of all groups.
import { request } from "../core/api.js";

const COLUMNS = {
  requests: (one) => one.num_model_requests,
  input_tokens: (one) => one.input_tokens,
  output_tokens: (one) => one.output_tokens,
  cost_usd: (one) => one.amount.value,
  saved_usd: (one) => one.saved.value,
  list_price_usd: (one) => one.listed.value,
  requests_without_price: (one) => one.num_unpriced_requests,
  requests_without_list_price: (one) => one.num_unlisted_requests,
};

/** question: the parameters of the page's own question to the API. */
export async function save(question) {
  const [group] = question.group_by;
  const rows = [["start", group, ...Object.keys(COLUMNS)]];
  for (const { start_time: start, results } of await buckets(question)) {
    const at = new Date(1000 * start).toISOString();
    for (const one of results) rows.push([at, one[group] ?? "", ...Object.values(COLUMNS).map((of) => plain(of(one)))]);
  }
  download(rows.map((row) => row.map(quoted).join(",")).join("\r\n"), `usage-${new Date(1000 * question.start_time).toISOString().slice(0, 10)}.csv`);
}

async function buckets(question) {
  const found = [];
  let page;
  do {
    const answer = await request("/v1/homeport/costs", { query: { ...question, page } });
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
