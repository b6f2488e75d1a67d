// One answer, as it comes: chunks become a message, with the times at which they came.
import { ask, events } from "../core/api.js";

const PATH = "/v1/chat/completions";

/**
 * A message that will be answered with: {role, choices: [{content, reasoning, refusal, tool_calls, finish, logprobs}],
 * chosen, about}. about: state is running, done, stopped or failed; what has gone wrong, how long it took, how many
 * tokens it was.
 */
export function unanswered(body) {
  return { role: "assistant", choices: [choice()], chosen: 0, about: { state: "running", asked: body.model, json: /^json/.test(body.response_format?.type ?? "") } };
}

/** changed: is called after each piece. It raises nothing: what goes wrong is told in `about`. */
export async function answer(message, body, { signal, changed }) {
  const { about } = message;
  const began = performance.now();
  const opened = (response) => (about.request = response.headers.get("x-request-id"));
  try {
    if (body.stream) {
      for await (const { data } of events(PATH, { body, signal, opened })) {
        take(message, data, performance.now() - began);
        changed();
      }
    } else {
      whole(message, await (await ask(PATH, { method: "POST", body, signal, opened })).json());
    }
    about.state = "done";
  } catch (error) {
    about.state = error.name === "AbortError" ? "stopped" : "failed";
    if (about.state === "failed") about.error = { status: error.status ?? null, code: error.code ?? null, param: error.param ?? null, message: error.message };
  }
  about.milliseconds = performance.now() - began;
  changed();
}

function choice() {
  return { content: "", reasoning: "", refusal: "", tool_calls: [], finish: null, logprobs: [] };
}

function take(message, chunk, at) {
  const { about } = message;
  if (chunk.model) about.model = chunk.model;
  if (chunk.usage) about.usage = chunk.usage;
  for (const { index, delta = {}, finish_reason: finish, logprobs } of chunk.choices ?? []) {
    while (message.choices.length <= index) message.choices.push(choice());
    const into = message.choices[index];
    const reasoning = delta.reasoning_content ?? delta.reasoning;
    if (delta.content || delta.refusal || reasoning || delta.tool_calls) {
      about.first ??= at;
      about.last = at;
    }
    into.content += delta.content ?? "";
    into.refusal += delta.refusal ?? "";
    if (typeof reasoning === "string") into.reasoning += reasoning;
    for (const call of delta.tool_calls ?? []) put(into.tool_calls, call);
    if (logprobs?.content) into.logprobs.push(...logprobs.content);
    if (finish) into.finish = finish;
  }
}

/** A piece of a call: of its arguments, mostly. */
function put(calls, { index, id, function: piece = {} }) {
  const call = (calls[index] ??= { id: "", type: "function", function: { name: "", arguments: "" } });
  if (id) call.id = id;
  call.function.name += piece.name ?? "";
  call.function.arguments += piece.arguments ?? "";
}

function whole(message, completion) {
  Object.assign(message.about, { model: completion.model, usage: completion.usage });
  message.choices = completion.choices.map(({ message: said, finish_reason: finish, logprobs }) => ({
    content: said.content ?? "",
    reasoning: said.reasoning_content ?? said.reasoning ?? "",
    refusal: said.refusal ?? "",
    tool_calls: said.tool_calls ?? [],
    finish,
    logprobs: logprobs?.content ?? [],
  }));
}

/** The message as the API takes it. */
export function sent(message) {
  const { role, content, pictures, tool_call_id: id } = message;
  if (role === "tool") return { role, tool_call_id: id, content };
  if (role !== "assistant") {
    if (!pictures?.length) return { role, content };
    const parts = pictures.map((url) => ({ type: "image_url", image_url: { url } }));
    return { role, content: content ? [{ type: "text", text: content }, ...parts] : parts };
  }
  const said = message.choices[message.chosen];
  const made = { role, content: said.content || (said.tool_calls.length || said.refusal ? null : "") };
  if (said.refusal) made.refusal = said.refusal;
  if (said.tool_calls.length) made.tool_calls = said.tool_calls;
  return made;
}

/** What somebody has written as an answer. */
export function written(content) {
  return { role: "assistant", choices: [{ ...choice(), content }], chosen: 0 };
}
