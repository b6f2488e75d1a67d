// All jobs, and the forms that begin one.
import { request } from "../core/api.js";
import { $, $$ } from "../core/dom.js";
import { submits } from "../core/form.js";
import { acting } from "../jobs/acting.js";
import { uploads } from "../jobs/uploads.js";

/** Of a file of a batch: as much as has its first line, mostly. */
const BEGINNING = 1_000_000;

acting();

const batch = $("form[data-new=batch]");
if (batch) {
  uploads(batch, { seen: chooseEndpoint });
  submits(batch, async (body) => {
    const made = await request("/v1/batches", { method: "POST", body });
    location.assign(`/dashboard/batches/${made.id}`);
  });
}

const tuning = $("form[data-new=fine-tuning]");
if (tuning) {
  uploads(tuning);
  tuning.elements["method.type"].addEventListener("change", ({ target }) => {
    for (const one of $$("fieldset[data-method]", tuning)) one.hidden = one.disabled = one.dataset.method !== target.value;
  });
  submits(tuning, async (body) => {
    const made = await request("/v1/fine_tuning/jobs", { method: "POST", body });
    location.assign(`/dashboard/fine-tuning/${made.id}`);
  });
}

/** Lines say which it is. Where the first is none, the server will tell. */
async function chooseEndpoint(file) {
  try {
    const [line] = (await file.slice(0, BEGINNING).text()).trimStart().split("\n", 1);
    const { url } = JSON.parse(line);
    const options = [...batch.elements.endpoint.options];
    if (options.some((one) => one.value === url)) batch.elements.endpoint.value = url;
  } catch {
    // what is wrong with it, is said of the batch
  }
}
