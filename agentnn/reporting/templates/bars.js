// Bars: how much each matters.

const BAR = 28;

const barSpec = {
  height: (chart) => Math.max(chart.labels.length, 2) * BAR + 56,

  make(chart, state, colours, width) {
    const shape = chart.value_shape ?? "number";
    const places = chart.labels.map((_, place) => place);
    const told = chart.values.map((value) => shown(value, shape));
    const spread = (place) => (chart.errors?.[place] ? ` ± ${shown(chart.errors[place], shape)}` : "");
    const trace = {
      type: "bar", orientation: "h", x: chart.values, y: places, width: 0.66,
      marker: { color: chart.values.map((value) => colours.series[value < 0 ? 1 : 0]) },
      customdata: places.map((place) => `${label(chart.labels[place])}<br><b>${told[place]}</b>${spread(place)}`),
      hovertemplate: "%{customdata}<extra></extra>",
      ...(chart.errors ? errorBars(chart, colours) : valueTexts(told, colours)),
    };
    const most = Math.max(10, Math.min(34, Math.floor(width / 18)));
    const ticks = shape === "percent" ? { tickformat: ".2~%" } : tickStyle(chart.values);
    const layout = {
      margin: { r: chart.errors ? 12 : 60, t: 4 }, dragmode: false,
      xaxis: { title: { text: label(chart.value_title ?? "") }, zeroline: true, fixedrange: true, ...ticks },
      yaxis: {
        tickmode: "array", tickvals: places, ticktext: chart.labels.map((name) => label(name, most)),
        autorange: "reversed", showgrid: false, fixedrange: true, tickfont: { color: colours.text, size: 12 },
      },
    };
    return { traces: [trace], layout };
  },
};

function errorBars(chart, colours) {
  const array = chart.errors.map((error) => error ?? 0);
  return { error_x: { type: "data", array, color: colours.text, thickness: 1.25, width: 4 } };
}

function valueTexts(text, colours) {
  return { text, textposition: "outside", cliponaxis: false, textfont: { color: colours.text } };
}
