// The numbers behind a chart, as a table, for who can't see it or wants them exactly.

const MOST_VALUES = 12000;

const valueTables = { LineChart: lineValues, BarChart: barValues, TimelineChart: spanValues };

function lineValues(chart) {
  const xs = chart.series.map((series) => abscissas(chart, series).slice(0, series.y.length));
  const places = [...new Set(xs.flat())];
  if (places.length * chart.series.length > MOST_VALUES) return null;
  if (chart.x_shape !== "date") places.sort((one, other) => one - other);
  const columns = chart.series.map((series, which) => new Map(xs[which].map((x, place) => [x, series.y[place]])));
  const told = (value) => shown(value, chart.y_shape ?? "number");
  return {
    headings: [chart.x_title || "date", ...chart.series.map((series) => series.name)],
    rows: places.map((x) => [shown(x, "number"), ...columns.map((column) => told(column.get(x)))]),
  };
}

function barValues(chart) {
  const told = (value) => shown(value, chart.value_shape ?? "number");
  const errors = (place) => (chart.errors ? [told(chart.errors[place])] : []);
  return {
    headings: ["", chart.value_title || "value", ...(chart.errors ? ["±"] : [])],
    rows: chart.labels.map((name, place) => [name, told(chart.values[place]), ...errors(place)]),
  };
}

function spanValues(chart) {
  const told = (time) => shown(time, "time");
  return {
    headings: ["", "state", "start (UTC)", "end (UTC)"],
    rows: chart.spans.map((span) => [span.label, span.state, told(span.start), told(span.end)]),
  };
}

/** A table of the chart's values, made when somebody opens it; where there is a table already, the way to it. */
function addValues(figure, chart) {
  if (chart.table) {
    const { id, title } = blocks.get(chart.table);
    const link = element("a", { href: `#table-${id}` }, visible(title));
    link.addEventListener("click", () => {
      document.querySelector(`#table-${id} > details`)?.setAttribute("open", "");
    });
    figure.append(element("p", { class: "values-link" }, "Data: ", link));
    return;
  }
  const made = valueTables[chart.type]?.(chart);
  if (!made) return;
  const details = element("details", { class: "values" }, element("summary", {}, "Data as a table"));
  details.addEventListener("toggle", () => {
    if (details.open && !details.querySelector("table")) details.append(valueTable(chart, made));
  });
  figure.append(details);
}

function valueTable(chart, { headings, rows }) {
  const heading = (text, place) => {
    if (!text) return element("td");
    return element("th", { scope: "col", class: place ? "n" : null }, visible(text));
  };
  const cell = (text, place) => {
    if (place) return element("td", { class: "n" }, visible(text));
    return element("th", { scope: "row" }, visible(text));
  };
  const head = element("thead", {}, element("tr", {}, ...headings.map(heading)));
  const body = element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map(cell))));
  const name = `Data of ${visible(chart.title)}`;
  const table = element("table", { class: "data heading-first" }, head, body);
  return element("div", { class: "scroll", role: "group", tabindex: "0", "aria-label": name }, table);
}
