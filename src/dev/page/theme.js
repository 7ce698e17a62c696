/** Light, dark, or as the system says; before the first paint, so no module. */
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = localStorage.getItem("theme"); // a preference, the only thing that this page stores

  const isDark = () => (chosen ? chosen === "dark" : system.matches);
  const paint = () => {
    root.dataset.theme = isDark() ? "dark" : "light";
    const button = document.getElementById("theme");
    button?.setAttribute("aria-label", isDark() ? "Switch to the light theme" : "Switch to the dark theme");
  };

  paint();
  system.addEventListener("change", paint);
  addEventListener("DOMContentLoaded", () => {
    paint();
    document.getElementById("theme")?.addEventListener("click", () => {
      chosen = isDark() ? "light" : "dark";
      localStorage.setItem("theme", chosen);
      paint();
    });
  });
})();
