// Lines over steps or dates: learning curves, equity, drawdowns, optimisation histories.

const MOST_COLOURED = 16;
const COLOURED_OF_MANY = 10;
const MOST_UNIFIED = 10;
const DASHES = ["solid", "dot", "dashdot"];
const keyOf = (series) => series.group || series.name;

/** Of each key that several charts share its colour, so that a run looks the same in all of them. */
const sharedColours = new Map();

/** The lines that have a colour: all, or of many the main ones and some others; the rest is grey. */
function colouredSeries(chart) {
  if (chart.series.length <= MOST_COLOURED) return chart.series;
  const main = chart.series.filter((series) => series.is_main);
  const taken = new Set(main.map(keyOf));
  const others = chart.series.filter((series) => !taken.has(keyOf(series)));
  return [...main, ...others.slice(0, Math.max(COLOURED_OF_MANY - main.length, 0))];
}

function colouredKeys(chart) {
  const coloured = colouredSeries(chart);
  return [...new Set([...coloured.filter((series) => series.is_main), ...coloured].map(keyOf))];
}

function shareColours(charts) {
  const counts = new Map();
  for (const chart of charts) for (const key of colouredKeys(chart)) counts.set(key, (counts.get(key) ?? 0) + 1);
  for (const chart of charts) {
    const keys = colouredKeys(chart);
    if (keys.some((key) => counts.get(key) > 1)) for (const key of keys) if (!sharedColours.has(key)) sharedColours.set(key, sharedColours.size);
  }
}

function colourPlaces(chart) {
  const keys = colouredKeys(chart);
  const isShared = keys.every((key) => sharedColours.has(key));
  return new Map(keys.map((key, place) => [key, isShared ? sharedColours.get(key) : place]));
}

const lineSpec = {
  height: (chart, width) => (chart.is_filled ? 220 : width < 480 ? 260 : 320),

  make(chart, state, colours, width) {
    const places = colourPlaces(chart);
    const coloured = colouredSeries(chart);
    const others = chart.series.filter((series) => !coloured.includes(series));
    const mainKeys = new Set(coloured.filter((series) => series.is_main).map(keyOf));
    const isUnified = chart.series.length <= MOST_UNIFIED;
    const context = { chart, state, colours, isUnified, mainKeys, percent: chart.y_shape === "percent" };
    const traces = [];
    if (others.length) traces.push(otherLines(context, others));
    const ordered = [...coloured.filter((series) => !series.is_main), ...coloured.filter((series) => series.is_main)];
    for (const series of ordered) traces.push(...lineTraces(context, series, places.get(keyOf(series))));
    return { traces, layout: lineLayout(context), legend: lineLegend(chart, coloured, others, places) };
  },
};

function lineTraces(context, series, place) {
  const { chart, state, colours } = context;
  const own = colours.series[place % SERIES_COLOURS];
  const colour = !series.is_main && context.mainKeys.has(keyOf(series)) ? faded(own, 0.4) : own;
  const isHidden = state.hidden.has(series.name);
  const isMarked = series.style === "points" || isLonely(series.y);
  const isSmoothed = chart.can_smooth && state.smoothing > 0 && !isMarked;
  const x = abscissas(chart, series);
  const line = {
    color: colour, width: series.is_main && chart.series.length > 2 ? 2.75 : 1.75,
    dash: series.style === "dash" ? "dash" : DASHES[Math.floor(place / SERIES_COLOURS) % DASHES.length], shape: series.style === "steps" ? "hv" : "linear",
  };
  const drawn = {
    x, y: series.y, type: "scatter", mode: isMarked ? "markers" : "lines", name: label(series.name, 40), line, visible: !isHidden,
    marker: { color: colour, size: chart.series.length > 1 && series.style === "points" ? 5 : 6, opacity: series.style === "points" ? 0.65 : 1 },
    hovertemplate: lineHover(context, series), text: bandTexts(context, series), connectgaps: false,
    ...(chart.is_filled ? { fill: "tozeroy", fillcolor: faded(colour, 0.18) } : {}),
  };
  const traces = series.low && series.high ? bandTraces(x, series, colour, isHidden) : [];
  if (!isSmoothed) return [...traces, drawn];
  const raw = { ...drawn, line: { ...line, width: 1, color: faded(colour, 0.3) }, hoverinfo: "skip", hovertemplate: null };
  return [...traces, raw, { ...drawn, y: smoothed(series.y, state.smoothing) }];
}

function isLonely(values) {
  return values.every((value, place) => value === null || ((values[place - 1] ?? null) === null && (values[place + 1] ?? null) === null));
}

function bandTraces(x, series, colour, isHidden) {
  const edge = { x, type: "scatter", mode: "lines", line: { width: 0, color: colour }, hoverinfo: "skip", visible: !isHidden };
  return [{ ...edge, y: series.low }, { ...edge, y: series.high, fill: "tonexty", fillcolor: faded(colour, 0.16) }];
}

function bandTexts({ percent }, series) {
  if (!series.low || !series.high) return undefined;
  const told = (value) => shown(value, percent ? "percent" : "number");
  return series.y.map((_, place) => ` (${told(series.low[place])} to ${told(series.high[place])})`);
}

function lineHover({ chart, isUnified, percent }, series) {
  const value = percent ? "%{y:.2%}" : "%{y:.5~g}";
  const band = series.low && series.high ? "%{text}" : "";
  if (isUnified) return `${value}${band}`;
  return `${templateLabel(chart.x_title ?? "step")} %{x}: <b>${value}</b>${band}`;
}

/** Many more lines, as one trace in grey; their names are told where the pointer is. */
function otherLines({ chart, state, colours, percent }, others) {
  const [x, y, text] = [[], [], []];
  for (const series of others) {
    const at = abscissas(chart, series);
    const values = chart.can_smooth && state.smoothing > 0 ? smoothed(series.y, state.smoothing) : series.y;
    const name = label(series.name, 40);
    values.forEach((value, place) => {
      x.push(at[place]);
      y.push(value);
      text.push(name);
    });
    x.push(null);
    y.push(null);
    text.push("");
  }
  return {
    x, y, text, type: "scatter", mode: "lines", name: "", visible: !state.hidden.has(OTHERS), connectgaps: false, line: { color: faded(colours.other, others.length > 60 ? 0.25 : 0.5), width: 1 },
    hovertemplate: `${templateLabel(chart.x_title ?? "step")} %{x}: <b>${percent ? "%{y:.2%}" : "%{y:.5~g}"}</b><extra>%{text}</extra>`,
  };
}

const OTHERS = "\u0000others";

function lineLegend(chart, coloured, others, places) {
  const entries = coloured.map((series) => ({
    key: series.name, name: series.name,
    swatch: `series-${(places.get(keyOf(series)) % SERIES_COLOURS) + 1} ${series.style === "points" ? "points" : series.style === "dash" ? "dash" : DASHES[Math.floor(places.get(keyOf(series)) / SERIES_COLOURS) % DASHES.length]}`,
  }));
  if (others.length) entries.push({ key: OTHERS, name: `${number(others.length)} others`, swatch: "other" });
  return entries;
}

function lineLayout({ chart, state, isUnified, percent }) {
  const isLog = state.isLog ?? Boolean(chart.is_log_y);
  const isDate = chart.x_shape === "date";
  const yTitle = chart.y_title === chart.title ? "" : chart.y_title ?? "";
  return {
    hovermode: isUnified ? "x unified" : "closest",
    ...(chart.x_title === "" ? { margin: { b: 28 } } : {}),
    xaxis: {
      title: { text: label(chart.x_title ?? "step") }, type: isDate ? "date" : "linear", uirevision: "x", showgrid: false, showline: true,
      ...(isDate ? { hoverformat: "%Y-%m-%d" } : { hoverformat: ",~r" }),
      ...(isUnified ? { unifiedhovertitle: { text: `${templateLabel(chart.x_title ?? "step")} %{x}`.trim() } } : {}),
    },
    yaxis: { title: { text: label(yTitle) }, type: isLog ? "log" : "linear", uirevision: `y${isLog}`, tickformat: percent ? ".2~%" : undefined, ...tickStyle(chart.series.flatMap((series) => series.y)), ...(isLog ? logTicks(chart.series.flatMap((series) => series.y)) : {}) },
  };
}

/** An exponential moving average without a bias to the start; gaps stay gaps. */
function smoothed(values, weight) {
  let [sum, share] = [0, 0];
  return values.map((value) => {
    if (value === null) return null;
    sum = sum * weight + value * (1 - weight);
    share = share * weight + (1 - weight);
    return sum / share;
  });
}

/** Controls that charts share: which are shown, smoothing, a logarithmic axis. */
function lineTools(together, place) {
  if (together.length > 2) place.append(curveChooser(together));
  if (together.some((plot) => plot.block.can_smooth)) place.append(smoothingSlider(together));
  if (together.some((plot) => plot.block.can_log)) {
    place.append(toggle("Log scale", Boolean(together[0].block.is_log_y), (isLog) => {
      for (const plot of together.filter((one) => one.block.can_log)) {
        plot.state.isLog = isLog;
        redraw(plot);
      }
    }));
  }
}

const MOST_CURVES = 8;

function curveChooser(together) {
  const show = (id) => {
    for (const plot of together) plot.figure.hidden = id !== "" && plot.block.id !== id;
    together[0].figure.parentElement.classList.toggle("single", id !== "");
  };
  const first = together.length > MOST_CURVES ? together[0].block.id : "";
  show(first);
  return chooser("Show", [["", `all ${together.length}`], ...together.map((plot) => [plot.block.id, plot.block.title])], first, show);
}

function smoothingSlider(together) {
  const told = element("output", {}, "0");
  const id = `page-choice-${(choices += 1)}`;
  const input = element("input", {
    id, type: "range", min: "0", max: "0.99", step: "0.01", value: "0",
    oninput: () => {
      told.textContent = input.value;
      for (const plot of together) {
        plot.state.smoothing = Number(input.value);
        redraw(plot);
      }
    },
  });
  return element("span", { class: "choice" }, element("label", { for: id }, "Smoothing"), input, told);
}

/** Charts of the same lines have one legend. */
function shareLegend(together, place) {
  const names = (plot) => plot.block.series.map((series) => series.name).join("\n");
  if (together.length < 2 || together.some((plot) => names(plot) !== names(together[0]))) return;
  const legend = element("div", { class: "legend" });
  place.append(legend);
  for (const plot of together) Object.assign(plot, { legendPlace: legend, together, state: Object.assign(plot.state, { hidden: together[0].state.hidden }) });
}
