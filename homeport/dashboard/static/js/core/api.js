// The public API, by the bridge (bridge.py): what a page does, any client can do.

/** What the API has said no with. `param` and `code` are of its error object. */
export class APIError extends Error {
  constructor(status, error = {}) {
    super(error.message || `The server answered with status ${status}.`);
    this.status = status;
    this.param = error.param ?? null;
    this.code = error.code ?? null;
  }
}

/** The Response of `/v1/...`, whatever it is made of. opened(response): as soon as it has begun. Raises APIError. */
export async function ask(path, { method = "GET", query, body, form, headers, signal, opened } = {}) {
  const said = { "x-homeport-dashboard": "1", ...headers };
  if (path.startsWith("/v1/assistants") || path.startsWith("/v1/threads")) said["openai-beta"] = "assistants=v2";
  if (body !== undefined) said["content-type"] = "application/json";
  const response = await fetch(`/dashboard${path}${search(query)}`, {
    method,
    headers: said,
    body: form ?? (body === undefined ? undefined : JSON.stringify(body)),
    signal,
  });
  if (response.ok) {
    opened?.(response);
    return response;
  }
  const told = await response.json().catch(() => ({}));
  if (response.status === 401 && told.error?.code === "signed_out") signIn();
  throw new APIError(response.status, told.error);
}

/** Its JSON. */
export async function request(path, options) {
  const response = await ask(path, options);
  return response.status === 204 ? null : response.json();
}

/** The events of a stream, each `{event, data}` with data decoded, until `[DONE]` or the end. Raises APIError, also for
 * an error in the middle. */
export async function* events(path, options) {
  const response = await ask(path, { method: "POST", ...options });
  for await (const { event, data } of frames(response.body)) {
    if (data === "[DONE]") return;
    const decoded = JSON.parse(data);
    if (event === "error" || (decoded.error && !decoded.object)) throw new APIError(response.status, decoded.error ?? decoded);
    yield { event, data: decoded };
  }
}

/** All items of a list, page by page; at most `most`. */
export async function all(path, { query = {}, most = 1000, signal } = {}) {
  const found = [];
  let after;
  do {
    const page = await request(path, { query: { limit: 100, ...query, after }, signal });
    found.push(...page.data);
    after = page.has_more ? (page.last_id ?? page.data.at(-1)?.id) : undefined;
  } while (after && found.length < most);
  return found.slice(0, most);
}

function search(query) {
  const pairs = Object.entries(query ?? {}).flatMap(([name, value]) =>
    Array.isArray(value) ? value.map((one) => [`${name}[]`, one]) : value === undefined || value === null || value === "" ? [] : [[name, value]],
  );
  return pairs.length ? `?${new URLSearchParams(pairs)}` : "";
}

async function* frames(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      text += done ? "\n\n" : value;
      const parts = text.split(/\r?\n\r?\n/);
      text = parts.pop();
      for (const part of parts) {
        let event = "";
        const data = [];
        for (const line of part.split(/\r?\n/)) {
          if (line.startsWith("event:")) event = line.slice(6).trim();
          else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
        }
        if (data.length) yield { event, data: data.join("\n") };
      }
      if (done) return;
    }
  } finally {
    reader.cancel().catch(() => {}); // whoever stops reading stops the answer
  }
}

function signIn() {
  location.assign(`/dashboard/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
}
