// `<button data-post="/v1/...">` does that: once it is said to be meant, where it asks (`data-asks`, and `data-does`, what
// it does). With `data-method` and `data-body` where they are other than POST and nothing. Then the sections of class
// `renewed` are asked for again, and `data-done` is said.
import { request } from "../core/api.js";
import { confirmed } from "../core/dialog.js";
import { $ } from "../core/dom.js";
import { replace } from "../core/live.js";
import { complain, toast } from "../core/toast.js";

export function acting() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-post]");
    if (!button) return;
    const { asks, does, done } = button.dataset;
    if (asks && !(await confirmed(asks, { does }))) return button.focus();
    button.disabled = true;
    try {
      await act(button.dataset);
      if (done) toast(done);
      await renewed();
    } catch (error) {
      complain(error);
    } finally {
      button.disabled = false;
    }
  });
}

/** All that is shown of it, as it is now. Whoever had the focus on something that is gone, is at the page's beginning. */
export async function renewed() {
  await replace(".renewed");
  if (document.activeElement === document.body) $("#main").focus({ preventScroll: true });
}

function act({ post, method, body }) {
  const path = post.split("/").map(encodeURIComponent).join("/");
  return request(path, { method: method ?? "POST", body: body === undefined ? undefined : JSON.parse(body) });
}
