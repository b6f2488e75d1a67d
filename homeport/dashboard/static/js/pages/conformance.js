// Filters as one types, what the server filters when the form is sent. Rows are found by their data-words.
import { $, $$ } from "../core/dom.js";

const form = $(".filters");
const sections = $$(".resource").map((section) => ({
  section,
  rows: $$(".operation", section).map((row) => ({ row, words: row.dataset.words, kinds: row.dataset.kinds.split(" ") })),
}));

function filter() {
  const { q, show, resource } = Object.fromEntries(new FormData(form));
  const words = q.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const { section, rows } of sections) {
    let shown = 0;
    for (const { row, words: known, kinds } of rows) {
      const fits =
        (!resource || section.dataset.resource === resource) &&
        (!show || kinds.includes(show)) &&
        words.every((word) => known.includes(word));
      row.hidden = !fits;
      shown += fits;
    }
    section.hidden = shown === 0;
    found += shown;
  }
  $("#found").textContent = found === 1 ? "1 operation" : `${found} operations`;
  remember({ q, show, resource });
}

/** In the address, so that what was looked for can be sent to somebody. */
function remember(said) {
  const query = new URLSearchParams(Object.entries(said).filter(([, value]) => value));
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
}

form.addEventListener("input", filter);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  filter();
});
