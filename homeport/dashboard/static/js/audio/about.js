// What is to be known of the model that was chosen.

export function about(option, element) {
  const { state, root, description } = option.dataset;
  element.textContent = state === "missing" ? `It is not on this machine. Run: homeport pull ${root}` : (description ?? "");
  element.hidden = !element.textContent;
}
