// Charts that Plotly draws. `spec` says of each kind how high it is, and what to draw.

const NARROWEST = 120;
const PRINTED_WIDTH = 680;
const coarse = matchMedia("(pointer: coarse)").matches;
const parsed = new Promise((resolve) => {
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", resolve);
  else resolve();
});
const plots = new Map();
const waiting = [];
let isDrawing = false;

/** A chart on the page; its state is what a reader has chosen. */
function addPlot(figure, block, spec) {
  const plot = {
    block, figure, spec, state: { hidden: new Set() }, isDrawn: false, width: 0, resets: 0,
    area: figure.querySelector(".plot"), tools: figure.querySelector(".tools"),
    corner: figure.querySelector(".corner"), legendPlace: figure.querySelector(".legend"),
  };
  plot.area.style.height = `${heightOf(plot)}px`;
  plots.set(block.id, plot);
  return plot;
}

function heightOf(plot) {
  return plot.spec.height(plot.block, plot.area.clientWidth || 600);
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
    script.onerror = () => reject(new Error(`${file} could not be loaded`));
  });
  document.head.append(script);
  return loaded;
}

/** Draw what has come near, one chart after the other, so that the page never stands still for long. */
async function drawWaiting() {
  if (isDrawing) return;
  isDrawing = true;
  try {
    await parsed;
    if (!window.Plotly) await loadPlotly();
    while (waiting.length) {
      draw(waiting.shift());
      await new Promise((resolve) => setTimeout(resolve));
    }
  } catch (error) {
    for (const plot of plots.values()) if (!plot.isDrawn) sayFailed(plot, error);
    if (window.Plotly) throw error;
  } finally {
    isDrawing = false;
  }
}

function sayFailed(plot, error) {
  const text = `The chart can't be drawn: ${visible(error.message)}.`;
  plot.area.style.height = "auto";
  plot.area.removeAttribute("role");
  plot.area.replaceChildren(element("p", { class: "missing" }, text));
}

function draw(plot) {
  const width = root.dataset.printing ? PRINTED_WIDTH : plot.area.clientWidth;
  if (width < NARROWEST) return; // a window that is closing, or a chart that is hidden
  plot.width = width;
  plot.area.style.height = `${heightOf(plot)}px`;
  const colours = palette();
  const made = plot.spec.make(plot.block, plot.state, colours, width);
  const layout = mergedLayout(baseLayout(colours, width, heightOf(plot)), made.layout, plot.resets);
  window.Plotly.react(plot.area, made.traces, layout, { displayModeBar: false, doubleClick: "reset", showTips: false });
  if (!plot.isDrawn) listenToZoom(plot);
  plot.isDrawn = true;
  plot.area.dataset.drawn = "";
  if (made.legend) showLegend(plot, made.legend);
}

/** Draw a chart again where it has been drawn; the others will be when they come near. */
function redraw(plot) {
  if (plot.isDrawn) draw(plot);
}

/** The button that shows everything again is there when something is hidden. */
function listenToZoom(plot) {
  plot.area.on("plotly_relayout", (change) => {
    plot.reset.hidden = !Object.keys(change).some((key) => key.includes(".range"));
  });
  plot.area.on("plotly_doubleclick", () => {
    plot.reset.hidden = true;
  });
}

function zoomOut(plot) {
  plot.resets += 1;
  draw(plot);
  plot.reset.hidden = true;
  plot.corner.lastElementChild.focus();
}

function saveImage(plot) {
  const size = { width: plot.width, height: heightOf(plot), scale: 2 };
  window.Plotly?.downloadImage(plot.area, { ...size, format: "png", filename: plot.block.id });
}
