// Where a message is written: text, pictures, and as whom.
import { $, h, icon } from "../core/dom.js";
import { toast } from "../core/toast.js";
import { written } from "./stream.js";

/** send(message or null), add(message), stop(), changed(): what is done with it. */
export function composer(form, { send, add, stop, changed }) {
  const text = $("textarea", form);
  const role = $("#role", form);
  const files = $('input[type="file"]', form);
  const shelf = $(".pictures", form);
  let pictures = [];

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    give(send);
  });
  text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!$("[data-send]", form).hidden) give(send);
  });
  text.addEventListener("input", () => {
    sized();
    changed();
  });
  $("[data-add]", form).addEventListener("click", () => draft() && give(add));
  $("[data-stop]", form).addEventListener("click", () => {
    stop();
    text.focus();
  });
  $("[data-attach]", form).addEventListener("click", () => files.click());
  files.addEventListener("change", () => {
    attach([...files.files]);
    files.value = "";
  });
  form.addEventListener("paste", (event) => attach([...event.clipboardData.files]));
  form.addEventListener("dragover", (event) => event.preventDefault());
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    attach([...event.dataTransfer.files]);
  });

  /** The message as it stands; null: there is none. */
  function draft() {
    if (!text.value.trim() && !pictures.length) return null;
    if (role.value === "assistant") return written(text.value);
    return { role: role.value, content: text.value, ...(pictures.length && role.value === "user" && { pictures: [...pictures] }) };
  }

  async function give(to) {
    if (to(draft()) === false) return;
    text.value = "";
    pictures = [];
    shown();
    sized();
    text.focus();
    changed();
  }

  async function attach(given) {
    for (const file of given) {
      if (!file.type.startsWith("image/")) toast(`${file.name} is no picture.`, { bad: true });
      else pictures.push(await address(file));
    }
    shown();
  }

  function shown() {
    shelf.hidden = !pictures.length;
    shelf.replaceChildren(
      ...pictures.map((url, at) =>
        h("li", {}, h("img", { src: url, alt: `Picture ${at + 1}` }), h("button", { type: "button", class: "tiny icon-only", "aria-label": `Remove picture ${at + 1}`, onclick: () => {
          pictures.splice(at, 1);
          shown();
        } }, icon("close"))),
      ),
    );
  }

  function sized() {
    text.rows = Math.min(10, text.value.split("\n").length);
  }

  return {
    draft,
    focus: () => text.focus(),
    kept: () => text.value,
    keep(value) {
      text.value = value ?? "";
      sized();
    },
    /** pictures: whether a model takes them. */
    state({ busy, pictures: takes }) {
      $("[data-send]", form).hidden = busy;
      $("[data-stop]", form).hidden = !busy;
      const attaches = $("[data-attach]", form);
      attaches.disabled = !takes;
      attaches.title = takes ? "" : "Models of this machine take no pictures.";
    },
  };
}

function address(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
