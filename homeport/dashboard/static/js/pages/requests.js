// Requests: fields that say nothing stay out of the address.
import { $ } from "../core/dom.js";

$("form.chosen").addEventListener("formdata", (event) => {
  for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
});
