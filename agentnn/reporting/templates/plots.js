// Charts that Plotly draws: when they come near, again when the page changes, all of them before printing.

const NEAR = "500px";
const NARROWEST = 120;
const PRINTED_WIDTH = 680;
const coarse = matchMedia("(pointer: coarse)").matches;
const still = matchMedia("(prefers-reduced-motion: reduce)");
const plots = new Map();
const waiting = [];
const parsed = new Promise((resolve) => (document.readyState === "loading" ? addEventListener("DOMContentLoaded", resolve) : resolve()));
let loading = false;

/** A chart on the page. `spec` says what to draw, from the chart, its state, the palette and the width. */
function addPlot(figure, block, spec) {
  const plot = {
    block, figure, spec, state: { hidden: new Set() }, isDrawn: false, legendPlace: figure.querySelector(".legend"),
    area: figure.querySelector(".plot"), tools: figure.querySelector(".tools"), width: 0, resets: 0,
  };
  plot.area.style.height = `${heightOf(plot)}px`;
  plots.set(block.id, plot);
  return plot;
}

function heightOf(plot) {
  return plot.spec.height ? plot.spec.height(plot.block, plot.area.clientWidth || 600, plot.state) : 320;
}

/** Plotly, loaded once: from this page, or from the file that the page names. */
function loadPlotly() {
  const place = document.getElementById("page-plotly");
  for (const id of place.dataset.unwanted.split(" ").filter(Boolean)) {
    if (!document.getElementById(id)) document.head.append(element("template", { id }));
  }
  const script = document.createElement("script");
  if (place.dataset.file) return loadFile(script, place.dataset);
  const source = document.getElementById("page-plotly-source");
  script.textContent = source.textContent;
  document.head.append(script);
  script.remove();
  source.remove();
  return Promise.resolve();
}

function loadFile(script, { file, integrity }) {
  script.src = file;
  if (integrity) Object.assign(script, { integrity, crossOrigin: "anonymous" });
  const loaded = new Promise((resolve, reject) => {
    script.onload = resolve;
    script.onerror = () => reject(new Error(file));
  });
  document.head.append(script);
  return loaded;
}

async function drawWaiting() {
  if (loading) return;
  loading = true;
  try {
    await parsed;
    if (!window.Plotly) await loadPlotly();
    while (waiting.length) {
      draw(waiting.shift());
      await new Promise((resolve) => setTimeout(resolve));
    }
  } catch (error) {
    for (const plot of plots.values()) {
      if (!plot.isDrawn) sayFailed(plot, error);
    }
  }
  loading = false;
}

function sayFailed(plot, error) {
  plot.area.style.height = "auto";
  plot.area.removeAttribute("role");
  plot.area.replaceChildren(element("p", { class: "missing" }, `The chart can't be drawn without ${visible(error.message)}.`));
}

function draw(plot) {
  const width = root.dataset.printing ? PRINTED_WIDTH : plot.area.clientWidth;
  if (width < NARROWEST) return; // a window that is closing, or a page that is hidden
  plot.width = width;
  plot.area.style.height = `${heightOf(plot)}px`;
  const colours = palette();
  const made = plot.spec.make(plot.block, plot.state, colours, width);
  const layout = mergedLayout(baseLayout(colours, width, heightOf(plot)), made.layout, plot.resets);
  window.Plotly.react(plot.area, made.traces, layout, { displayModeBar: false, doubleClick: "reset", showTips: false });
  if (!plot.isDrawn) {
    plot.isDrawn = true;
    plot.area.on("plotly_relayout", (change) => showZoomed(plot, Object.keys(change).some((key) => key.includes(".range"))));
    plot.area.on("plotly_doubleclick", () => showZoomed(plot, false));
    plot.area.dataset.drawn = "";
  }
  if (made.legend) showLegend(plot, made.legend);
}

/** Draw a chart again where it has been drawn; the others will be when they come near. */
function redraw(plot) {
  if (plot.isDrawn) draw(plot);
}

function baseLayout(colours, width, height) {
  const axis = {
    gridcolor: colours.grid, linecolor: colours.border, zerolinecolor: colours.border, tickcolor: colours.border,
    zeroline: false, showline: false, ticks: "", ticklabelstandoff: 4, automargin: true, exponentformat: "power", nticks: width < 480 ? 5 : 8,
    tickfont: { color: colours.muted, size: 11.5 }, title: { font: { color: colours.muted, size: 12 }, standoff: 10 },
  };
  return {
    width, height, axis, paper_bgcolor: colours.surface, plot_bgcolor: colours.surface, showlegend: false,
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colours.text },
    margin: { l: 48, r: 12, t: 10, b: 40 }, hovermode: "closest", dragmode: coarse ? false : "zoom",
    transition: { duration: 0 },
    hoverlabel: { bgcolor: colours.surface, bordercolor: colours.border, font: { color: colours.text, size: 12 }, align: "left", namelength: -1 },
    colorway: colours.series,
  };
}

/** A chart's layout over the common one; every axis of it starts from the common axis, and stays zoomed until a reset. */
function mergedLayout({ axis, ...base }, layout, resets) {
  const merged = { ...base, ...layout, margin: { ...base.margin, ...layout.margin } };
  for (const key of Object.keys(merged).filter((name) => /^[xy]axis\d*$/.test(name))) {
    const own = merged[key];
    merged[key] = { ...axis, ...own, uirevision: `${own.uirevision} ${resets}`, title: own.title?.text ? { ...axis.title, ...own.title } : {} };
  }
  return merged;
}

/** The ticks of a logarithmic axis: on a long one only powers of ten, for a lone 2 or 5 tells nobody of which. */
function logTicks(values) {
  const [least, most] = extent(values.filter((value) => value > 0));
  if (most === undefined) return {};
  const digits = most / least > 50 ? [1] : most / least > 5 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9];
  const tickvals = [];
  for (let power = Math.floor(Math.log10(least)) - 1; power <= Math.ceil(Math.log10(most)) + 1; power += 1) {
    for (const digit of digits) tickvals.push(Number((digit * 10 ** power).toPrecision(3)));
  }
  return { tickmode: "array", tickvals, ticktext: tickvals.map(powerText) };
}

/** Numbers of a common size are written out; only great and small ones as powers. */
function tickStyle(values) {
  const [least, most] = extent(values.filter((value) => typeof value === "number"));
  const size = Math.max(Math.abs(least ?? 1), Math.abs(most ?? 1));
  return size >= 1e-3 && size < 1e9 ? { exponentformat: "none", separatethousands: true } : {};
}

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

function powerText(value) {
  if (value >= 1e-3 && value < 1e5) return number(value);
  const [mantissa, exponent] = value.toExponential().split("e").map(Number);
  const raised = String(exponent).replace("-", "⁻").replace(/\d/g, (digit) => SUPERSCRIPTS[digit]);
  return `${mantissa === 1 ? "" : `${mantissa}×`}10${raised}`;
}

function extent(values) {
  return values.length ? [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))] : [];
}

/** The button that shows everything again is there when something is hidden. */
function showZoomed(plot, isZoomed) {
  plot.reset.hidden = !isZoomed;
}

function zoomOut(plot) {
  plot.resets += 1;
  draw(plot);
  showZoomed(plot, false);
  plot.figure.querySelector(".corner button:last-child").focus();
}

// What a reader can do

function toolButton(text, onclick) {
  return element("button", { type: "button", class: "tool", onclick }, text);
}

/** A button that is pressed or not. */
function toggle(text, isPressed, change) {
  const button = toolButton(text, () => {
    const now = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(now));
    change(now);
  });
  button.setAttribute("aria-pressed", String(isPressed));
  return button;
}

let choices = 0;

/** A choice among options, each a value and its title. */
function chooser(name, options, chosen, change) {
  const id = `page-choice-${(choices += 1)}`;
  const select = element("select", { id, onchange: () => change(select.value) });
  for (const [value, title] of options) select.append(element("option", { value, selected: value === chosen }, visible(title)));
  return element("span", { class: "choice" }, element("label", { for: id }, name), select);
}

function commonTools(plot) {
  plot.reset = toolButton("Reset zoom", () => zoomOut(plot));
  plot.reset.hidden = true;
  const save = toolButton("Save image", () => window.Plotly?.downloadImage(plot.area, { format: "png", scale: 2, width: plot.width, height: heightOf(plot), filename: plot.block.id }));
  save.classList.add("quiet");
  plot.figure.querySelector(".corner").append(plot.reset, save);
}

/** A legend of buttons: each hides and shows what it names. */
function showLegend(plot, entries) {
  const place = plot.legendPlace;
  const known = entries.map((entry) => `${entry.key} ${entry.name}`).join("\n");
  if (place.dataset.known === known) return;
  place.dataset.known = known;
  place.replaceChildren(...(entries.length > 1 || plot.block.type !== "LineChart" ? entries.map((entry) => legendEntry(plot, entry)) : []));
}

function legendEntry(plot, entry) {
  const swatch = element("span", { class: `swatch ${entry.swatch}`, "aria-hidden": "true" });
  const name = element("span", { class: "legend-name" }, visible(entry.name));
  if (!entry.key) return element("span", { class: "legend-entry" }, swatch, name);
  const hidden = plot.state.hidden;
  const button = element("button", { type: "button", class: "legend-entry", title: visible(entry.name), "aria-pressed": String(!hidden.has(entry.key)) }, swatch, name);
  button.addEventListener("click", () => {
    if (!hidden.delete(entry.key)) hidden.add(entry.key);
    button.setAttribute("aria-pressed", String(!hidden.has(entry.key)));
    for (const one of plot.together ?? [plot]) redraw(one);
  });
  return button;
}

// When they are drawn

function watchPlots() {
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      near.unobserve(entry.target);
      waiting.push(plots.get(entry.target.closest("[data-chart]").dataset.chart));
    }
    if (waiting.length) drawWaiting();
  }, { rootMargin: NEAR });
  const sized = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const plot = plots.get(target.closest("[data-chart]").dataset.chart);
      if (!root.dataset.printing && Math.abs(target.clientWidth - plot.width) > 1) redraw(plot);
    }
  });
  for (const plot of plots.values()) {
    near.observe(plot.area);
    sized.observe(plot.area);
  }
  themeListeners.push(() => {
    for (const plot of plots.values()) redraw(plot);
  });
}

/** On paper everything is there, and light. */
function watchPrinting() {
  const before = () => {
    if (root.dataset.printing) return;
    root.dataset.printing = root.dataset.theme || "system";
    root.dataset.theme = "light";
    if (plots.size && !window.Plotly && !document.getElementById("page-plotly").dataset.file) loadPlotly();
    if (window.Plotly) for (const plot of plots.values()) draw(plot);
    for (const listener of printListeners) listener();
  };
  const after = () => {
    if (!root.dataset.printing) return;
    if (root.dataset.printing === "system") delete root.dataset.theme;
    else root.dataset.theme = root.dataset.printing;
    delete root.dataset.printing;
    themeChanged();
  };
  addEventListener("beforeprint", before);
  addEventListener("afterprint", after);
  matchMedia("print").addEventListener("change", (event) => (event.matches ? before() : after()));
}

const printListeners = [];
