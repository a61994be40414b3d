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
  for (const one of document.querySelectorAll("article details:not(.log, .folded)")) one.open = true;
});
