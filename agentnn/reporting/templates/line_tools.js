// Controls of lines. Learning curves that follow one another share theirs.

const MOST_CURVES = 8;

/** Which are shown, smoothing, a logarithmic axis: for all of these charts. */
function lineTools(together, place) {
  if (together.length > 2) place.append(curveChooser(together));
  if (together.some((plot) => plot.block.can_smooth)) place.append(smoothingSlider(together));
  const logarithmic = together.filter((plot) => plot.block.can_log);
  if (!logarithmic.length) return;
  const change = (isLog) => {
    for (const plot of logarithmic) {
      plot.state.isLog = isLog;
      redraw(plot);
    }
  };
  place.append(toggle("Log scale", Boolean(logarithmic[0].block.is_log_y), change));
}

function curveChooser(together) {
  const body = together[0].figure.parentElement;
  const show = (id) => {
    for (const plot of together) plot.figure.hidden = id !== "" && plot.block.id !== id;
    body.classList.toggle("single", id !== "");
  };
  const first = together.length > MOST_CURVES ? together[0].block.id : "";
  const options = together.map((plot) => [plot.block.id, plot.block.title]);
  show(first);
  return chooser("Show", [["", `all ${together.length}`], ...options], first, show);
}

function smoothingSlider(together) {
  const told = element("output", {}, "0");
  const slider = element("input", { type: "range", min: "0", max: "0.99", step: "0.01", value: "0" });
  slider.addEventListener("input", () => {
    told.textContent = slider.value;
    for (const plot of together) {
      plot.state.smoothing = Number(slider.value);
      redraw(plot);
    }
  });
  return labelled("Smoothing", slider, told);
}

/** Charts of the same lines have one legend. */
function shareLegend(together, place) {
  const names = (plot) => plot.block.series.map((series) => series.name).join("\n");
  if (together.length < 2 || together.some((plot) => names(plot) !== names(together[0]))) return;
  const legend = element("div", { class: "legend" });
  const { hidden } = together[0].state;
  place.append(legend);
  for (const plot of together) {
    Object.assign(plot, { legendPlace: legend, together });
    plot.state.hidden = hidden;
  }
}
