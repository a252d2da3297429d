// What the theme leaves out: parts that scroll can be reached by the keyboard, and the search has a name for those who hear it.
function reach() {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
  for (const part of document.querySelectorAll("pre > code, .md-typeset__scrollwrap")) {
    if (part.tabIndex !== 0) part.tabIndex = 0;
  }
}
document.addEventListener("DOMContentLoaded", () => {
  reach();
  // The theme puts tables into their frames later, and takes what did not scroll out of reach until the window has another size.
  const changes = { childList: true, subtree: true, attributes: true, attributeFilter: ["tabindex"] };
  new MutationObserver(reach).observe(document.body, changes);
});
