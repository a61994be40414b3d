"use strict";
// The pages read without this; it adds copy buttons and marks the step that is being read.
for (const code of document.querySelectorAll("article .highlight")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.querySelector("pre").innerText);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select and copy";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  code.append(button);
}
const links = new Map(
  [...document.querySelectorAll(".side .steps a")].map((link) => [link.hash.slice(1), link]));
if (links.size && "IntersectionObserver" in window) {
  const mark = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(entry.target.id).setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-10% 0px -75% 0px" });
  for (const id of links.keys()) mark.observe(document.getElementById(id));
}
addEventListener("beforeprint", () => {
  for (const one of document.querySelectorAll("article details:not(.log, .folded), article .parameters")) one.open = true;
});
// The search: search.js has MiniSearch and the text of all pages.
const search = document.querySelector(".search");
addEventListener("DOMContentLoaded", () => {
  if (typeof MiniSearch === "undefined") return;
  const [input, found] = [search.querySelector("input"), search.querySelector(".found")];
  let index = null;
  search.hidden = false;
  search.addEventListener("submit", (event) => {
    event.preventDefault();
    found.querySelector("a")?.click();
  });
  search.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { found.hidden = true; input.focus(); }
  });
  search.addEventListener("focusout", (event) => {
    if (!search.contains(event.relatedTarget)) found.hidden = true;
  });
  input.addEventListener("focus", () => { found.hidden = !input.value.trim(); });
  input.addEventListener("input", () => {
    if (index === null) {
      index = new MiniSearch({ idField: "url", fields: ["title", "page", "text"], storeFields: ["title", "page", "text"],
        searchOptions: { boost: { title: 3, page: 2 }, prefix: true, fuzzy: 0.15, combineWith: "AND" } });
      index.addAll(SECTIONS);
    }
    const results = index.search(input.value).slice(0, 8);
    found.hidden = !input.value.trim();
    found.replaceChildren(...(results.length ? results.map(asItem) : [asText("li", "Nothing found")]));
  });
});
function asText(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}
function asItem(result) {
  const item = document.createElement("li");
  const link = asText("a", result.title);
  const words = result.terms.map((term) => result.text.toLowerCase().indexOf(term)).filter((at) => at >= 0);
  const from = Math.max(0, (words[0] ?? 0) - 40);
  link.href = result.id;
  link.append(asText("small", result.title === result.page ? "" : result.page));
  link.append(asText("span", (from ? "…" : "") + result.text.slice(from, from + 140)));
  item.append(link);
  return item;
}
