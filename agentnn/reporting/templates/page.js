// Everything starts here.

const SPECS = {
  LineChart: () => lineSpec,
  ScatterChart: (chart) => (chart.panels?.length ? sliceSpec : scatterSpec),
  BarChart: () => barSpec,
  ContourChart: () => contourSpec,
  TimelineChart: () => timelineSpec,
};

function startCharts() {
  shareColours([...blocks.values()].filter((block) => block.type === "LineChart"));
  for (const figure of document.querySelectorAll("[data-chart]")) {
    const chart = blocks.get(figure.dataset.chart);
    if (chart.type === "ParallelChart") startParallel(figure, chart);
    else startPlot(addPlot(figure, chart, SPECS[chart.type](chart)));
    addValues(figure, chart);
  }
  for (const place of document.querySelectorAll("[data-curves]")) startCurves(place);
  watchPlots();
  watchPrinting();
}

function startPlot(plot) {
  const isCurve = plot.figure.closest("[data-curves]");
  if (plot.spec === lineSpec && !isCurve) lineTools([plot], plot.tools);
  if (plot.spec === scatterSpec && plot.block.choices?.length) scatterTools(plot);
  commonTools(plot);
}

function startCurves(place) {
  const together = [...place.querySelectorAll("[data-chart]")].map((figure) => plots.get(figure.dataset.chart));
  const tools = place.querySelector(".tools");
  lineTools(together, tools);
  shareLegend(together, tools);
}

/** The part of the report that is being read is marked in the contents. */
function watchSections() {
  const links = new Map([...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]));
  const seen = new Set();
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) seen[isIntersecting ? "add" : "delete"](target.id);
    const current = [...links.keys()].find((id) => seen.has(id));
    for (const [id, link] of links) {
      if (id === current) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }, { rootMargin: "-10% 0px -60% 0px" });
  for (const section of document.querySelectorAll("main > section")) observer.observe(section);
}

function startCopying() {
  for (const block of document.querySelectorAll(".code-block")) {
    const button = element("button", { type: "button", class: "tool copy" }, "Copy");
    button.addEventListener("click", async () => {
      const text = block.querySelector("code").textContent;
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(block.querySelector("code"));
        button.textContent = "Selected";
      }
      setTimeout(() => (button.textContent = "Copy"), 2000);
    });
    block.append(button);
  }
}

startTheme();
startTables();
startCharts();
watchSections();
startCopying();
