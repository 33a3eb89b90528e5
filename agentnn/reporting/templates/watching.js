// When charts are drawn: as they come near, again as the page changes, all of them before printing.

const NEAR = "500px";
const printListeners = [];

const plotOf = (area) => plots.get(area.closest("[data-chart]").dataset.chart);

function watchPlots() {
  const near = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      waiting.push(plotOf(target));
    }
    if (waiting.length) drawWaiting();
  }, { rootMargin: NEAR });
  const sized = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const plot = plotOf(target);
      if (!root.dataset.printing && Math.abs(target.clientWidth - plot.width) > 1) redraw(plot);
    }
  });
  for (const { area } of plots.values()) {
    near.observe(area);
    sized.observe(area);
  }
  themeListeners.push(() => plots.forEach(redraw));
}

/** On paper everything is there, and light. */
function watchPrinting() {
  addEventListener("beforeprint", toPaper);
  addEventListener("afterprint", fromPaper);
  matchMedia("print").addEventListener("change", ({ matches }) => (matches ? toPaper() : fromPaper()));
}

function toPaper() {
  if (root.dataset.printing) return;
  root.dataset.printing = root.dataset.theme || "system";
  root.dataset.theme = "light";
  const isInside = Boolean(document.getElementById("page-plotly-source"));
  if (isInside && !window.Plotly) loadPlotly();
  if (window.Plotly) plots.forEach(draw);
  for (const listener of printListeners) listener();
}

function fromPaper() {
  if (!root.dataset.printing) return;
  if (root.dataset.printing === "system") delete root.dataset.theme;
  else root.dataset.theme = root.dataset.printing;
  delete root.dataset.printing;
  themeChanged();
}
