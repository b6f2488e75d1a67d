// What can be done with a file that is there: `<button data-download="file-...">`, `<button data-delete="file-...">`.
import { ask, request } from "./api.js";
import { h } from "./dom.js";
import { confirmed } from "./dialog.js";
import { complain } from "./toast.js";

/** gone(): it was deleted. */
export function storedFiles({ gone }) {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-download], [data-delete]");
    try {
      if (button?.dataset.download) await download(button.dataset.download);
      if (button?.dataset.delete && (await confirmed(`Delete ${button.dataset.name}? Whatever still needs it will miss it.`))) {
        await request(`/v1/files/${button.dataset.delete}`, { method: "DELETE" });
        gone();
      }
    } catch (error) {
      complain(error);
    }
  });
}

/** By the browser itself, once it is clear that the API gives it out. */
async function download(id) {
  const stop = new AbortController();
  await ask(`/v1/files/${id}/content`, { signal: stop.signal });
  stop.abort();
  const link = h("a", { href: `/dashboard/v1/files/${id}/content`, download: "" });
  document.body.append(link);
  link.click();
  link.remove();
}

/** Its first bytes: decoded, if they are text. null: they are none. */
export async function beginning(id, bytes) {
  const stop = new AbortController();
  const response = await ask(`/v1/files/${id}/content`, { signal: stop.signal });
  const reader = response.body.getReader();
  let found = new Uint8Array();
  while (found.length < bytes) {
    const { done, value } = await reader.read();
    if (done) break;
    const more = new Uint8Array(found.length + value.length);
    more.set(found);
    more.set(value, found.length);
    found = more;
  }
  stop.abort();
  if (found.includes(0)) return null;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(found.slice(0, bytes), { stream: true });
  } catch {
    return null;
  }
}
