import { request } from "../core/api.js";
import { $, h } from "../core/dom.js";
import { confirmed } from "../core/dialog.js";
import { submits } from "../core/form.js";
import { replace } from "../core/live.js";
import { complain } from "../core/toast.js";
import { dropping } from "../core/upload.js";
import { showFound } from "../vector_store/found.js";

const path = `/v1/vector_stores/${$("#store").dataset.store}`;
const renew = () => replace("#files, #facts");

dropping({
  chosen: () => ({ purpose: "assistants" }),
  done: (file) => request(`${path}/files`, { method: "POST", body: { file_id: file.id } }),
  all: renew,
});

submits($("#search"), async (body) => {
  const began = performance.now();
  const found = await request(`${path}/search`, { method: "POST", body });
  showFound($("#found"), found, body.query, performance.now() - began);
});

submits($("#add"), async (body) => {
  const chunks = body.chunking_strategy?.static;
  if (chunks) {
    chunks.max_chunk_size_tokens ??= 800;
    chunks.chunk_overlap_tokens ??= Math.floor(chunks.max_chunk_size_tokens / 2);
    body.chunking_strategy.type = "static";
  }
  await request(`${path}/files`, { method: "POST", body });
  await renew();
});

submits($("#settings form"), async ({ days, name, metadata }) => {
  const expires = days ? { anchor: "last_active_at", days } : null;
  await request(path, { method: "POST", body: { name: name ?? null, metadata: metadata ?? null, expires_after: expires } });
  location.reload();
});

$("#delete").addEventListener("click", async () => {
  if (!(await confirmed("Delete this vector store? Its files stay, and can be put into another."))) return;
  try {
    await request(path, { method: "DELETE" });
    location.assign("/dashboard/vector-stores");
  } catch (error) {
    complain(error);
  }
});

let edited;
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-chunks], [data-attributes], [data-remove]");
  try {
    if (button?.dataset.chunks) await showText(button.dataset.chunks, button.dataset.name);
    if (button?.dataset.attributes) {
      edited = button.dataset.file;
      $("#attributes-value").value = JSON.stringify(JSON.parse(button.dataset.attributes), null, 2);
      $("#attributes").showModal();
    }
    if (button?.dataset.remove && (await confirmed(`Remove ${button.dataset.name} from this store? The file itself stays.`, { does: "Remove" }))) {
      await request(`${path}/files/${button.dataset.remove}`, { method: "DELETE" });
      await renew();
    }
  } catch (error) {
    complain(error);
  }
});
submits($("#attributes form"), async ({ attributes }) => {
  await request(`${path}/files/${edited}`, { method: "POST", body: { attributes: attributes ?? {} } });
  $("#attributes").close();
  await renew();
});

/** What was read from a file. */
async function showText(id, name) {
  const { data } = await request(`${path}/files/${id}/content`);
  const text = data.map((one) => one.text).join("\n\n");
  const made = h("dialog", { class: "wide", "aria-label": `Text of ${name}` });
  made.append(h("div", { class: "inside" }, h("h2", {}, name), h("pre", {}, text || "There is no text in it."), h("div", { class: "row end" }, h("button", { onclick: () => made.close() }, "Close"))));
  made.addEventListener("close", () => made.remove());
  document.body.append(made);
  made.showModal();
}
