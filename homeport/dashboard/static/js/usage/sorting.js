// A table whose heads are buttons: pressed, its rows are in the order of that column; pressed again, the other way round.

/** Cells say their number as `data-value`; others are sorted by their text. */
export function sorts(table) {
  const heads = [...table.tHead.rows[0].cells];
  for (const [column, head] of heads.entries()) {
    head.querySelector("button")?.addEventListener("click", () => {
      const falling = head.ariaSort === "none" ? head.classList.contains("number") : head.ariaSort === "ascending";
      for (const other of heads) if (other.hasAttribute("aria-sort")) other.ariaSort = "none";
      head.ariaSort = falling ? "descending" : "ascending";
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((one, other) => compared(one.cells[column], other.cells[column]));
      body.append(...(falling ? rows.reverse() : rows));
    });
  }
}

function compared(one, other) {
  if (one.dataset.value !== undefined) return Number(one.dataset.value) - Number(other.dataset.value);
  return one.textContent.trim().localeCompare(other.textContent.trim());
}
