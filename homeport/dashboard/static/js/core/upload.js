// Files into /v1/files with progress: whole ones up to a size, larger ones in parts by /v1/uploads, several at a time.
import { APIError, request } from "./api.js";
import { $, h, icon } from "./dom.js";
import { size } from "./format.js";
import { complain } from "./toast.js";

const WHOLE = 64e6;
const PART = 32e6;
const AT_ONCE = 3;

/** The file's object. progress(bytes) is called with how much is there. days: after which it is deleted. */
export async function upload(file, { purpose, days, progress = () => {}, signal }) {
  const expires = days ? { anchor: "created_at", seconds: 86400 * days } : undefined;
  return file.size <= WHOLE ? whole(file, { purpose, expires, progress, signal }) : inParts(file, { purpose, expires, progress, signal });
}

async function whole(file, { purpose, expires, progress, signal }) {
  const form = new FormData();
  form.append("purpose", purpose);
  for (const [name, value] of Object.entries(expires ?? {})) form.append(`expires_after[${name}]`, value);
  form.append("file", file, file.name);
  return sent("/v1/files", form, { progress: (bytes) => progress(Math.min(bytes, file.size)), signal });
}

async function inParts(file, { purpose, expires, progress, signal }) {
  const body = { filename: file.name, purpose, bytes: file.size, mime_type: file.type || "application/octet-stream", expires_after: expires };
  const { id } = await request("/v1/uploads", { method: "POST", body, signal });
  try {
    const starts = Array.from({ length: Math.ceil(file.size / PART) }, (_, index) => index * PART);
    const parts = new Array(starts.length);
    const there = new Array(starts.length).fill(0);
    const left = starts.keys();
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        for (const index of left) {
          const form = new FormData();
          form.append("data", file.slice(starts[index], starts[index] + PART), "part");
          const counted = (bytes) => {
            there[index] = Math.min(bytes, PART);
            progress(Math.min(file.size, there.reduce((sum, one) => sum + one, 0)));
          };
          parts[index] = (await sent(`/v1/uploads/${id}/parts`, form, { progress: counted, signal })).id;
        }
      }),
    );
    return (await request(`/v1/uploads/${id}/complete`, { method: "POST", body: { part_ids: parts }, signal })).file;
  } catch (error) {
    request(`/v1/uploads/${id}/cancel`, { method: "POST", body: {} }).catch(() => {});
    throw error;
  }
}

/** By XMLHttpRequest: `fetch` does not tell how much has left. */
function sent(path, form, { progress, signal }) {
  return new Promise((resolve, reject) => {
    const made = new XMLHttpRequest();
    made.open("POST", `/dashboard${path}`);
    made.setRequestHeader("x-homeport-dashboard", "1");
    made.responseType = "json";
    made.upload.addEventListener("progress", (event) => progress(event.loaded));
    made.addEventListener("load", () => (made.status < 400 ? resolve(made.response) : reject(new APIError(made.status, made.response?.error))));
    made.addEventListener("error", () => reject(new Error("The connection broke off.")));
    made.addEventListener("abort", () => reject(new DOMException("Stopped.", "AbortError")));
    signal?.addEventListener("abort", () => made.abort());
    made.send(form);
  });
}

/** A place to drop files on (`#drop`, with an `<input type=file>` within), and how far each is (`#uploads`).
 * chosen(): {purpose, days}; done(file's object) for each; all() once none is left. */
export function dropping({ chosen, done = () => {}, all = () => {} }) {
  const drop = $("#drop");
  const input = $("input[type=file]", drop);
  let left = 0;
  const take = async (files) => {
    left += files.length;
    await Promise.all(
      [...files].map(async (file) => {
        try {
          await done(await shown(file, chosen()));
        } catch (error) {
          complain(error?.name === "AbortError" ? error : new Error(`${file.name}: ${error.message}`));
        } finally {
          left -= 1;
        }
      }),
    );
    if (!left) await all();
  };
  const chosenOnes = () => {
    const files = [...input.files];
    input.value = "";
    if (files.length) take(files);
  };
  input.addEventListener("change", chosenOnes);
  chosenOnes(); // before this was here
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => !event.relatedTarget && drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    if (!event.dataTransfer?.files.length) return;
    event.preventDefault();
    drop.classList.remove("over");
    take(event.dataTransfer.files);
  });
}

async function shown(file, options) {
  const stop = new AbortController();
  const bar = h("progress", { max: file.size || 1, value: 0, "aria-label": `Upload of ${file.name}` });
  const told = h("span", { class: "small muted nowrap" }, size(file.size));
  const row = h("div", { class: "card row" }, h("span", { class: "grow" }, file.name), h("span", { class: "grow" }, bar), told, h("button", { class: "quiet icon-only tiny", "aria-label": `Stop the upload of ${file.name}`, onclick: () => stop.abort() }, icon("close")));
  $("#uploads").append(row);
  const progress = (bytes) => {
    bar.value = bytes;
    told.textContent = `${size(bytes)} of ${size(file.size)}`;
  };
  try {
    return await upload(file, { ...options, progress, signal: stop.signal });
  } finally {
    row.remove();
  }
}
