import { $, h } from "../core/dom.js";
import { highlight } from "../core/markdown.js";
import { beginning, storedFiles } from "../core/stored.js";

const BYTES = 16_384;
const LANGUAGES = { json: "json", jsonl: "json", py: "python", js: "javascript", ts: "typescript", md: "markdown", html: "xml", xml: "xml", css: "css", sh: "bash", sql: "sql", yaml: "yaml", yml: "yaml", rs: "rust", go: "go", java: "java", cpp: "cpp", c: "cpp" };
const PICTURES = /\.(png|jpe?g|gif|webp)$/i;

storedFiles({ gone: () => location.assign("/dashboard/files") });

const place = $("#preview");
const { file: id, name } = place.dataset;
try {
  if (PICTURES.test(name)) {
    const response = await fetch(`/dashboard/v1/files/${id}/content`);
    if (!response.ok) throw new Error((await response.json()).error.message);
    place.replaceChildren(h("img", { src: URL.createObjectURL(await response.blob()), alt: name }));
  } else {
    const text = await beginning(id, BYTES);
    if (text === null) place.replaceChildren(h("p", { class: "muted" }, "This is no text."));
    else {
      const code = h("code", {}, text);
      place.replaceChildren(h("pre", {}, code));
      await highlight(code, LANGUAGES[name.split(".").pop().toLowerCase()]);
    }
  }
} catch (error) {
  place.replaceChildren(h("p", { class: "muted" }, error.message));
}
