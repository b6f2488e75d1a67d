// One run: its buttons, the outputs that it wants, colours for its code.
import { request } from "../core/api.js";
import { $$ } from "../core/dom.js";
import { submitted } from "../core/form.js";
import { highlight, show } from "../core/markdown.js";
import { acting, renewed } from "../jobs/acting.js";
import { telling } from "../jobs/told.js";

acting();
telling("Run");
adorn(document);
document.addEventListener("homeport:renewed", ({ target }) => adorn(target));

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-outputs]");
  if (!form) return;
  event.preventDefault();
  await submitted(form, async () => {
    const outputs = $$("[data-call]", form).map((field) => ({ tool_call_id: field.dataset.call, output: field.value }));
    await request(form.dataset.outputs, { method: "POST", body: { tool_outputs: outputs } });
    document.activeElement?.blur();
    await renewed();
  });
});

function adorn(within) {
  for (const code of $$("code[data-language]", within)) highlight(code, code.dataset.language).catch(() => null);
  for (const said of $$(".timeline > li > .said", within)) show(said, said.textContent).catch(() => null);
}
