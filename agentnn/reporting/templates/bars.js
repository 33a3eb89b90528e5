// Bars: importance, and what ran when.

const BAR = 28;

const barSpec = {
  height: (chart) => Math.max(chart.labels.length, 2) * BAR + 56,

  make(chart, state, colours, width) {
    const percent = chart.value_shape === "percent";
    const told = chart.values.map((value) => shown(value, percent ? "percent" : "number"));
    const errors = chart.errors ? chart.errors.map((error) => error ?? 0) : null;
    const hover = chart.labels.map((name, place) => `${label(name, 60)}<br><b>${told[place]}</b>${errors?.[place] ? ` ± ${shown(errors[place], percent ? "percent" : "number")}` : ""}`);
    const trace = {
      type: "bar", orientation: "h", x: chart.values, y: chart.labels.map((_, place) => place), width: 0.66,
      marker: { color: chart.values.map((value) => (value < 0 ? colours.series[1] : colours.series[0])) },
      text: errors ? undefined : told, textposition: "outside", cliponaxis: false, textfont: { color: colours.text }, customdata: hover, hovertemplate: "%{customdata}<extra></extra>",
      ...(errors ? { error_x: { type: "data", array: errors, color: colours.text, thickness: 1.25, width: 4 } } : {}),
    };
    const most = Math.max(10, Math.min(34, Math.floor(width / 18)));
    return {
      traces: [trace],
      layout: {
        margin: { r: errors ? 12 : 60, t: 4 }, dragmode: false,
        xaxis: { title: { text: label(chart.value_title ?? "") }, zeroline: true, ...tickStyle(chart.values), tickformat: percent ? ".2~%" : undefined, fixedrange: true },
        yaxis: { tickmode: "array", tickvals: chart.labels.map((_, place) => place), ticktext: chart.labels.map((name) => label(name, most)), autorange: "reversed", showgrid: false, fixedrange: true, tickfont: { color: colours.text, size: 12 } },
      },
    };
  },
};

const STATES = { complete: "series-1", running: "series-3", pruned: "series-4", failed: "series-2" };
const PATTERNS = { complete: "", running: ".", pruned: "/", failed: "x" };
const MOST_NAMED = 24;

const timelineSpec = {
  height: (chart) => Math.max(lanesOf(chart).count * (lanesOf(chart).named ? 22 : 20), 44) + 50,

  make(chart, state, colours) {
    const lanes = lanesOf(chart);
    const last = latest(chart);
    const states = [...new Set(chart.spans.map((span) => span.state))];
    const traces = states.map((name) => spanTrace(chart, lanes, last, name, colours, state));
    return {
      traces,
      layout: {
        barmode: "overlay", hovermode: "closest", xaxis: { type: "date", title: { text: "UTC" }, uirevision: "x" },
        yaxis: {
          autorange: "reversed", showgrid: false, fixedrange: true, 
          ...(lanes.named ? { tickmode: "array", tickvals: chart.spans.map((_, place) => place), ticktext: chart.spans.map((span) => label(span.label, 20)) } : { tickmode: "array", tickvals: [], ticktext: [] }),
        },
      },
      legend: states.map((name) => ({ key: name, name, swatch: `${STATES[name] ?? "other"} block ${name}` })),
    };
  },
};

function spanTrace(chart, lanes, last, name, colours, state) {
  const places = chart.spans.map((_, place) => place).filter((place) => chart.spans[place].state === name);
  const spans = places.map((place) => chart.spans[place]);
  const length = (span) => Math.max((Date.parse(span.end ?? last) - Date.parse(span.start)), 1);
  const colour = STATES[name] ? colours.series[Number(STATES[name].slice(-1)) - 1] : colours.other;
  return {
    type: "bar", orientation: "h", name: label(name), visible: !state.hidden.has(name), base: spans.map((span) => span.start.replace(/Z$/, "")), x: spans.map(length), y: places.map((place) => lanes.of[place]), width: 0.72,
    marker: { color: colour, line: { width: 1, color: colours.surface }, pattern: { shape: PATTERNS[name] ?? "", fillmode: "overlay", fgcolor: colours.surface, size: 6, solidity: 0.25 } },
    customdata: spans.map((span) => `<b>${label(span.label)}</b><br>${label(span.state)}<br>${label(moment(span.start))}, ${span.end ? duration(length(span) / 1000) : "not ended"}`),
    hovertemplate: "%{customdata}<extra></extra>",
  };
}

function latest(chart) {
  return chart.spans.map((span) => span.end ?? span.start).reduce((one, other) => (Date.parse(other) > Date.parse(one) ? other : one));
}

/** Each span in the first lane that is free when it starts; few spans have a lane each. */
function lanesOf(chart) {
  if (chart.spans.length <= MOST_NAMED) return { named: true, count: chart.spans.length, of: chart.spans.map((_, place) => place) };
  const last = latest(chart);
  const ends = [];
  const of = new Array(chart.spans.length);
  const ordered = chart.spans.map((_, place) => place).sort((one, other) => Date.parse(chart.spans[one].start) - Date.parse(chart.spans[other].start));
  for (const place of ordered) {
    const [start, end] = [chart.spans[place].start, chart.spans[place].end ?? last].map(Date.parse);
    const free = ends.findIndex((before) => before <= start);
    const lane = free < 0 ? ends.length : free;
    ends[lane] = end;
    of[place] = lane;
  }
  return { named: false, count: ends.length, of };
}
