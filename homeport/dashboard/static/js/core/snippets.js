// A request of the public API as code that somebody can run: curl, and OpenAI's SDKs for Python and Node. Pure text: no
// page is needed (core/code.js shows it).

/**
 * {curl, python, node} of a request. body: as it is sent, with `stream` where it is one. files: of a form, name -> file
 * name, or a list of them; body's fields are the form's others then. saves: the file that what comes is written to.
 * base: of the API, with `/v1`.
 */
export function snippets({ method = "POST", path, body = {}, files = {}, saves, base = `${globalThis.location?.origin}/v1` }) {
  const asked = { method, path: path.replace(/^\/v1/, ""), body, files, saves, base, form: Object.keys(files).length > 0 };
  return { curl: curl(asked), python: python(asked), node: node(asked) };
}

/** path -> the SDK's method, what it takes by name (in Python; all else is `extra_body`), and what it gives back. */
const METHODS = {
  "/chat/completions": {
    method: "chat.completions.create",
    takes: "model messages temperature top_p n stop seed max_tokens max_completion_tokens frequency_penalty presence_penalty logit_bias logprobs top_logprobs reasoning_effort response_format tools tool_choice parallel_tool_calls stream stream_options user metadata store service_tier modalities audio prediction",
    gives: "chat",
  },
  "/embeddings": { method: "embeddings.create", takes: "model input dimensions encoding_format user", gives: "vectors" },
  "/images/generations": { method: "images.generate", takes: "model prompt n size quality style background output_format output_compression moderation response_format user stream partial_images", gives: "pictures" },
  "/images/edits": { method: "images.edit", takes: "model prompt image mask n size quality background input_fidelity output_format output_compression response_format user stream partial_images", gives: "pictures" },
  "/images/variations": { method: "images.create_variation", takes: "model image n size response_format user", gives: "pictures" },
  "/audio/speech": { method: "audio.speech.create", takes: "model input voice instructions response_format speed stream_format", gives: "sound" },
  "/audio/transcriptions": { method: "audio.transcriptions.create", takes: "model file language prompt response_format temperature timestamp_granularities include chunking_strategy stream", gives: "words" },
  "/audio/translations": { method: "audio.translations.create", takes: "model file prompt response_format temperature", gives: "words" },
};
/** Longer arguments than this are refused by Linux (128 KiB); they are given by standard input. */
const LONGEST_ARGUMENT = 100_000;

function curl({ method, path, body, files, saves, base, form }) {
  const lines = [`curl ${body.stream ? "-N " : ""}${method === "POST" ? "" : `-X ${method} `}${quoted(base + path)}`, '-H "Authorization: Bearer $OPENAI_API_KEY"'];
  let below = "";
  if (form) {
    for (const [name, value] of Object.entries(body)) for (const [field, one] of fields(name, value)) lines.push(`--form-string ${quoted(`${field}=${one}`)}`);
    for (const [name, given] of Object.entries(files)) {
      for (const file of [given].flat()) lines.push(`-F ${quoted(`${name}${Array.isArray(given) ? "[]" : ""}=@"${file.replace(/["\\]/g, "\\$&")}"`)}`);
    }
  } else if (method === "POST") {
    const text = literal(body, JSON_TEXT);
    lines.push('-H "Content-Type: application/json"');
    if (text.length < LONGEST_ARGUMENT) lines.push(`-d ${quoted(text)}`);
    else [lines[lines.length], below] = ["--data-binary @- <<'JSON'", `\n${text}\nJSON`];
  }
  if (saves) lines.splice(1, 0, `-o ${quoted(saves)}`);
  return `${lines.join(" \\\n  ")}${below}\n`;
}

function python({ method, path, body, files, saves, base, form }) {
  const known = METHODS[path];
  const imports = ["from openai import OpenAI"];
  const client = `client = OpenAI(base_url=${JSON.stringify(base)})  # the key: the variable OPENAI_API_KEY`;
  if (!known || method !== "POST") {
    const call = method === "POST" ? `client.post(${JSON.stringify(path)}, cast_to=object, body=${literal(body, PYTHON)})` : `client.${method.toLowerCase()}(${JSON.stringify(path)}, cast_to=object)`;
    return `${imports[0]}\n\n${client}\n\nprint(${call})\n`;
  }
  const takes = new Set(known.takes.split(" "));
  const [named, extra] = [{}, {}];
  for (const [name, value] of Object.entries(body)) (takes.has(name) ? named : extra)[name] = value;
  const given = Object.entries(named).map(([name, value]) => `${name}=${literal(value, PYTHON, 1)}`);
  for (const [name, file] of Object.entries(files)) {
    const opened = [file].flat().map((one) => `open(${JSON.stringify(one)}, "rb")`);
    given.push(`${name}=${Array.isArray(file) ? `[${opened.join(", ")}]` : opened[0]}`);
  }
  if (Object.keys(extra).length) given.push(`extra_body=${literal(extra, PYTHON, 1)}`);
  const call = (how = "") => `client.${known.method.replace(/\.(\w+)$/, `${how}.$1`)}(\n${given.map((one) => `    ${one},\n`).join("")})`;
  const after = {
    chat: () =>
      body.stream
        ? [`stream = ${call()}`, "for chunk in stream:", "    for choice in chunk.choices:", '        print(choice.delta.content or choice.delta.tool_calls or "", end="", flush=True)', "print()"]
        : [`completion = ${call()}`, "for choice in completion.choices:", "    print(choice.message.content or choice.message.tool_calls)"],
    vectors: () => [`answer = ${call()}`, "for item in answer.data:", "    print(item.index, len(item.embedding), item.embedding[:3])"],
    pictures: () => {
      if (body.stream) return [`for event in ${call()}:`, "    print(event.type)"];
      imports.unshift("import base64\n");
      return [`answer = ${call()}`, "for number, image in enumerate(answer.data, 1):", "    if image.b64_json:", `        open(f"image-{number}.${extension(body)}", "wb").write(base64.b64decode(image.b64_json))`, "    else:", "        print(image.url)"];
    },
    sound: () => [`with ${call(".with_streaming_response")} as answer:`, `    answer.stream_to_file(${JSON.stringify(saves ?? "speech.mp3")})`],
    words: () => (body.stream ? [`for event in ${call()}:`, "    print(event)"] : [`answer = ${call()}`, `print(${plain(body) ? "answer" : "answer.text"})`]),
  }[known.gives]();
  return `${imports.join("\n")}\n\n${client}\n\n${after.join("\n")}\n`;
}

function node({ method, path, body, files, saves, base, form }) {
  const known = METHODS[path];
  const imports = ['import OpenAI from "openai";'];
  const client = `const client = new OpenAI({ baseURL: ${JSON.stringify(base)} }); // the key: the variable OPENAI_API_KEY`;
  if (!known || method !== "POST") {
    const call = method === "POST" ? `client.post(${JSON.stringify(path)}, { body: ${literal(body, NODE)} })` : `client.${method.toLowerCase()}(${JSON.stringify(path)})`;
    return `${imports[0]}\n\n${client}\n\nconsole.log(await ${call});\n`;
  }
  const given = Object.entries(body).map(([name, value]) => `${name}: ${literal(value, NODE, 1)}`);
  for (const [name, file] of Object.entries(files)) {
    const opened = [file].flat().map((one) => `fs.createReadStream(${JSON.stringify(one)})`);
    given.push(`${name}: ${Array.isArray(file) ? `[${opened.join(", ")}]` : opened[0]}`);
  }
  const name = known.method.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
  const call = `await client.${name}({\n${given.map((one) => `  ${one},\n`).join("")}})`;
  const reads = form || known.gives === "sound" || (known.gives === "pictures" && !body.stream);
  if (reads) imports.unshift('import fs from "node:fs";');
  const after = {
    chat: () =>
      body.stream
        ? [`const stream = ${call};`, "for await (const chunk of stream) {", "  for (const { delta } of chunk.choices) {", '    process.stdout.write(delta.content ?? (delta.tool_calls ? JSON.stringify(delta.tool_calls) : ""));', "  }", "}", "console.log();"]
        : [`const completion = ${call};`, "for (const { message } of completion.choices) console.log(message.content ?? message.tool_calls);"],
    vectors: () => [`const answer = ${call};`, "for (const { index, embedding } of answer.data) console.log(index, embedding.length, embedding.slice(0, 3));"],
    pictures: () =>
      body.stream
        ? [`for await (const event of ${call}) console.log(event.type);`]
        : [`const answer = ${call};`, "for (const [index, image] of answer.data.entries()) {", `  if (image.b64_json) fs.writeFileSync(\`image-\${index + 1}.${extension(body)}\`, Buffer.from(image.b64_json, "base64"));`, "  else console.log(image.url);", "}"],
    sound: () => [`const answer = ${call};`, `fs.writeFileSync(${JSON.stringify(saves ?? "speech.mp3")}, Buffer.from(await answer.arrayBuffer()));`],
    words: () => (body.stream ? [`for await (const event of ${call}) console.log(event);`] : [`const answer = ${call};`, `console.log(${plain(body) ? "answer" : "answer.text"});`]),
  }[known.gives]();
  return `${imports.join("\n")}\n\n${client}\n\n${after.join("\n")}\n`;
}

const extension = (body) => body.output_format ?? "png";
const plain = (body) => ["text", "srt", "vtt"].includes(body.response_format);
const quoted = (text) => (/^[\w./:@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

function fields(name, value) {
  if (Array.isArray(value)) return value.map((one) => [`${name}[]`, one]);
  return [[name, typeof value === "object" && value !== null ? JSON.stringify(value) : value]];
}

const JSON_TEXT = { true: "true", false: "false", null: "null", indent: "  ", key: (name) => JSON.stringify(name), strict: true };
const PYTHON = { true: "True", false: "False", null: "None", indent: "    ", key: (name) => JSON.stringify(name) };
const NODE = { true: "true", false: "false", null: "null", indent: "  ", key: (name) => (/^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name)) };
/** Of a line. */
const WIDTH = 90;

/** A value as a language writes it: JSON's strings and numbers are the same in both. depth: of the line it begins in. */
function literal(value, language, depth = 0) {
  if (value === undefined || value === null || typeof value === "boolean") return language[String(value ?? null)];
  if (typeof value !== "object") return JSON.stringify(value);
  const list = Array.isArray(value);
  const inside = (deeper) => (list ? value.map((one) => literal(one, language, deeper)) : Object.entries(value).map(([name, one]) => `${language.key(name)}: ${literal(one, language, deeper)}`));
  const [open, close] = list ? "[]" : "{}";
  if (!(list ? value.length : Object.keys(value).length)) return open + close;
  const flat = inside(depth).join(", ");
  const room = list || language !== NODE ? "" : " ";
  if (flat.length < WIDTH && !flat.includes("\n")) return `${open}${room}${flat}${room}${close}`;
  const margin = language.indent.repeat(depth + 1);
  const lines = inside(depth + 1).map((one) => `${margin}${one}`);
  return `${open}\n${lines.join(",\n")}${language.strict ? "" : ","}\n${language.indent.repeat(depth)}${close}`;
}
