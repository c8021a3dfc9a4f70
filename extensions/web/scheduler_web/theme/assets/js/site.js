const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");

const button = document.querySelector(".mode");
if (button) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const now = root.dataset.mode || (dark.matches ? "dark" : "light");
    root.dataset.mode = now === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("mode", root.dataset.mode);
    } catch {
      // It lasts for this page then.
    }
  });
}

for (const block of document.querySelectorAll(".code")) {
  if (!navigator.clipboard) break;
  const copy = document.createElement("button");
  copy.type = "button";
  copy.className = "copy";
  copy.textContent = "Copy";
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(block.querySelector("code").innerText);
    copy.textContent = "Copied";
    setTimeout(() => (copy.textContent = "Copy"), 1600);
  });
  block.append(copy);
}
