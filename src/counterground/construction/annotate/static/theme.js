// Runs before anything is drawn, so that no page flashes in the wrong theme.
(() => {
  const names = { "": "Theme: system", light: "Theme: light", dark: "Theme: dark" };
  const order = ["", "light", "dark"];
  const read = () => {
    try {
      return localStorage.getItem("counterground:theme") ?? "";
    } catch {
      return "";
    }
  };
  const apply = (theme) => {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    const button = document.getElementById("theme");
    if (button) button.textContent = names[theme] ?? names[""];
  };
  apply(read());
  document.addEventListener("DOMContentLoaded", () => {
    apply(read());
    document.getElementById("theme")?.addEventListener("click", () => {
      const next = order[(order.indexOf(read()) + 1) % order.length];
      try {
        localStorage.setItem("counterground:theme", next);
      } catch {
        // Storage is off: the choice holds for this page only.
      }
      apply(next);
    });
  });
})();
