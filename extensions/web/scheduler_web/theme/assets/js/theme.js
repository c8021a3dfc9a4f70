// Before the first paint: the mode that the reader chose here last time.
try {
  const mode = localStorage.getItem("mode");
  if (mode === "light" || mode === "dark") document.documentElement.dataset.mode = mode;
} catch {
  // Storage may be forbidden; the system's mode is used then.
}
