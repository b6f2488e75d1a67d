// `<button data-copy="text">` or `<button data-copies="#id">`: into the clipboard.
import { toast } from "./toast.js";

export function copying(within) {
  for (const button of within.querySelectorAll("[data-copy], [data-copies]")) {
    button.addEventListener("click", () => copy(button.dataset.copy ?? document.querySelector(button.dataset.copies).textContent));
  }
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied.");
  } catch {
    toast("The browser does not allow to copy here. Select the text and copy it.", { bad: true });
  }
}
