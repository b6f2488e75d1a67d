// What is to be known of the model that was chosen.

export function about(option, element) {
  const { reason, description } = option.dataset;
  element.textContent = reason ?? description ?? "";
  element.hidden = !element.textContent;
}
