import { request } from "../core/api.js";
import { confirmed } from "../core/dialog.js";
import { $, $$, h } from "../core/dom.js";
import { valuesOf } from "../core/form.js";
import { complain } from "../core/toast.js";
import { Editor } from "../assistants/editor.js";
import { Chips } from "../assistants/files.js";
import { ACTIVE } from "../assistants/run.js";
import { Thread } from "../assistants/thread.js";

const TOOLS = { code_interpreter: "code interpreter", file_search: "file search" };
const select = $("#assistant");
const assistants = new Map();
const editor = new Editor((assistant) => go({ assistant: assistant.id, thread: thread?.id }));
let thread = null;

for (const button of $$("[data-new-assistant]")) button.addEventListener("click", () => editor.open(null));
if (select) start().catch(complain);

async function start() {
  const form = $("#say");
  const chips = new Chips($("#attached"), $("#attach"), { uses });
  thread = new Thread({ name: nameOf, changed: state, failed: told });
  select.addEventListener("change", chosen);
  $("#edit").addEventListener("click", () => assistants.get(select.value) && editor.open(assistants.get(select.value)));
  $("#remove").addEventListener("click", () => remove().catch(complain));
  $("#delete-thread").addEventListener("click", () => removeThread().catch(complain));
  $("#cancel").addEventListener("click", () => thread.watched.cancel().catch(complain));
  $("#text").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(chips).catch(told);
  });
  await chosen();
  const id = new URL(location).searchParams.get("thread");
  if (id) await opened(id);
  atTheEnd();
  if (matchMedia("(hover: hover)").matches) $("#text").focus();
}

async function opened(id) {
  $("#thread-title").textContent = $(`[data-thread="${CSS.escape(id)}"] span`)?.textContent ?? id;
  $("#delete-thread").hidden = false;
  const run = await thread.open(id).catch(told);
  if (!run || run.assistant_id === select.value || ![...select.options].some((one) => one.value === run.assistant_id)) return;
  select.value = run.assistant_id;
  await chosen();
}

/** What comes is followed by whoever looks at the end. */
function atTheEnd() {
  const page = document.documentElement;
  let pinned = true;
  addEventListener("scroll", () => (pinned = page.scrollTop + innerHeight > page.scrollHeight - 120), { passive: true });
  new ResizeObserver(() => pinned && page.scrollTo(0, page.scrollHeight)).observe($("#said"));
}

/** What is known of the assistant, below its name. */
async function chosen() {
  const id = select.value;
  $("#edit").disabled = $("#remove").disabled = $("#send").disabled = !id;
  $("#new-thread").href = `/dashboard/assistants?assistant=${id}`;
  if (!id) return;
  if (!assistants.has(id)) assistants.set(id, await request(`/v1/assistants/${id}`));
  const { tools, instructions } = assistants.get(id);
  $("#tools-shown").replaceChildren(...tools.map((tool) => h("span", { class: "badge plain" }, TOOLS[tool.type] ?? `${tool.function.name}()`)));
  $("#instructions-shown").textContent = instructions ?? "";
}

function nameOf(id) {
  return assistants.get(id)?.name ?? [...select.options].find((one) => one.value === id)?.textContent.replace(/ \([^()]*\)$/, "") ?? "Assistant";
}

/** What a file may be for: as the assistant's tools are. */
function uses(file) {
  const tools = new Set(assistants.get(select.value)?.tools.map((tool) => tool.type));
  const search = ["file_search", "for search"];
  const code = ["code_interpreter", "for code"];
  const found = [...(tools.has("file_search") ? [search] : []), ...(tools.has("code_interpreter") ? [code] : [])];
  if (/^image\/(png|jpeg|gif|webp)$/.test(file.type)) return [["picture", "to look at"], ...found.filter((one) => one !== search)];
  return found.length ? found : [search, code];
}

async function send(chips) {
  const text = $("#text").value.trim();
  if (chips.uploading) throw new Error("Files are still being uploaded.");
  if (ACTIVE.includes(thread.watched?.run?.status)) throw new Error("The run that the thread has is not done yet. Wait for it, or cancel it.");
  const files = chips.files;
  if (!text && !files.length && !thread.id) return;
  $("#send").disabled = true;
  state({ status: "queued" });
  try {
    if (!thread.id) await begin(text);
    if (text || files.length) {
      const pictures = files.filter((one) => one.use === "picture").map((one) => ({ type: "image_file", image_file: { file_id: one.id } }));
      const attachments = files.filter((one) => one.use !== "picture").map((one) => ({ file_id: one.id, tools: [{ type: one.use }] }));
      const content = pictures.length ? [...(text ? [{ type: "text", text }] : []), ...pictures] : text || "(see the attached files)";
      await thread.say({ content, attachments: attachments.length ? attachments : undefined });
      $("#text").value = "";
      chips.clear();
    }
    await thread.run({ assistant_id: select.value, ...valuesOf($("#run-settings")) });
  } finally {
    if (!thread.watched?.run) state(null);
  }
}

/** The thread of what is said now. */
async function begin(text) {
  await thread.create();
  const url = new URL(location);
  url.searchParams.set("thread", thread.id);
  url.searchParams.set("assistant", select.value);
  history.replaceState(null, "", url);
  $("#thread-title").textContent = text || "New thread";
  $("#delete-thread").hidden = false;
  $("#threads").prepend(h("li", {}, h("a", { href: url, "data-thread": thread.id, "aria-current": "true" }, h("span", {}, text || "New thread"), h("span", { class: "small muted" }, "now"))));
}

/** run: null where there is none. */
function state(run) {
  const active = ACTIVE.includes(run?.status);
  $("#run-state").textContent = run ? run.status.replaceAll("_", " ") : "";
  $("#send").disabled = active || !select.value;
  $("#cancel").hidden = !active || !run.id;
}

function told(error) {
  if (thread.watched && !thread.watched.run) thread.watched = null;
  $("#nothing")?.remove();
  $("#said").append(h("div", { class: "notice bad", role: "alert" }, error.message));
  if (!ACTIVE.includes(thread.watched?.run?.status)) state(null);
}

async function remove() {
  if (!(await confirmed(`Delete the assistant ${nameOf(select.value)}? Its threads stay.`))) return;
  await request(`/v1/assistants/${select.value}`, { method: "DELETE" });
  go({ thread: thread.id });
}

async function removeThread() {
  if (!(await confirmed("Delete this thread, with all that was said in it?"))) return;
  await request(`/v1/threads/${thread.id}`, { method: "DELETE" });
  go({ assistant: select.value });
}

function go(given) {
  const query = new URLSearchParams(Object.entries(given).filter(([, value]) => value));
  location.assign(`/dashboard/assistants?${query}`);
}
