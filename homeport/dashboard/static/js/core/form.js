// Forms whose answer is an object for the API: names are paths (`metadata.team`), `data-type` says of what kind a value
// is, what is left empty is left out, and what the API refuses is said at the field of that name.
import { APIError } from "./api.js";
import { complain } from "./toast.js";

const READ = {
  number: (field) => Number(field.value),
  integer: (field) => Math.trunc(Number(field.value)),
  json: (field) => JSON.parse(field.value),
  lines: (field) => field.value.split("\n").map((line) => line.trim()).filter(Boolean),
  words: (field) => field.value.split(/[\s,]+/).filter(Boolean),
};

/** Raises SyntaxError: a field of JSON is none. */
export function valuesOf(form) {
  const found = {};
  for (const field of form.elements) {
    if (!field.name || field.matches(":disabled")) continue;
    let value;
    if (field.type === "checkbox") value = field.checked;
    else if (field.type === "radio" && !field.checked) continue;
    else if (field.multiple) value = [...field.selectedOptions].map((option) => option.value);
    else if (field.value === "") continue;
    else value = (READ[field.dataset.type] ?? ((one) => one.value))(field);
    put(found, field.name.split("."), value);
  }
  return found;
}

/** act(values): what is done with it; while it lasts the form's buttons are off. Returns whether it went well. */
export function submits(form, act) {
  form.addEventListener("reset", () => clear(form));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await submitted(form, act);
  });
}

export async function submitted(form, act) {
  const buttons = [...form.querySelectorAll("button")].filter((button) => !button.disabled);
  clear(form);
  for (const button of buttons) button.disabled = true;
  try {
    await act(valuesOf(form));
    return true;
  } catch (error) {
    if (error instanceof APIError) blame(form, error);
    else complain(error);
    return false;
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

function blame(form, error) {
  const field = error.param && form.elements.namedItem(error.param);
  if (!(field instanceof HTMLElement)) return complain(error);
  const told = document.createElement("p");
  told.className = "wrong";
  told.id = `${field.id || field.name}-wrong`;
  told.textContent = error.message;
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-describedby", told.id);
  field.closest(".field")?.append(told);
  field.focus();
}

function clear(form) {
  for (const told of form.querySelectorAll(".wrong")) told.remove();
  for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
}

function put(into, path, value) {
  const last = path.pop();
  for (const part of path) into = into[part] ??= {};
  into[last] = value;
}
