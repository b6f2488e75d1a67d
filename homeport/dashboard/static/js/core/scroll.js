// Tables that are wider than the page scroll within themselves: then the keyboard must get there.

const watching = new ResizeObserver((seen) => seen.forEach(({ target }) => reachable(target.closest(".scroll"))));

export function scrolling(within) {
  for (const region of within.querySelectorAll(".scroll:not([tabindex])")) {
    watching.observe(region);
    if (region.firstElementChild) watching.observe(region.firstElementChild);
  }
}

function reachable(region) {
  if (region.scrollWidth > region.clientWidth) region.tabIndex = 0;
  else region.removeAttribute("tabindex");
}
