// The numbers behind a chart, as a table, for who can't see it or wants them exactly.

const MOST_VALUES = 12000;

const valueTables = {
  LineChart: lineValues,
  BarChart: (chart) => ({
    headings: ["", chart.value_title || "value", ...(chart.errors ? ["±"] : [])],
    rows: chart.labels.map((name, place) => [name, shown(chart.values[place], chart.value_shape ?? "number"), ...(chart.errors ? [shown(chart.errors[place], chart.value_shape ?? "number")] : [])]),
  }),
  TimelineChart: (chart) => ({
    headings: ["", "state", "start (UTC)", "end (UTC)"],
    rows: chart.spans.map((span) => [span.label, span.state, moment(span.start), span.end ? moment(span.end) : NOTHING]),
  }),
};

function lineValues(chart) {
  const places = [...new Set(chart.series.flatMap((series) => abscissas(chart, series).slice(0, series.y.length)))];
  if (places.length * chart.series.length > MOST_VALUES) return null;
  if (chart.x_shape !== "date") places.sort((one, other) => one - other);
  const columns = chart.series.map((series) => new Map(abscissas(chart, series).map((x, place) => [x, series.y[place]])));
  const told = (value) => (value === undefined || value === null ? NOTHING : shown(value, chart.y_shape ?? "number"));
  return {
    headings: [chart.x_title || "date", ...chart.series.map((series) => series.name)],
    rows: places.map((x) => [typeof x === "number" ? number(x) : String(x), ...columns.map((column) => told(column.get(x)))]),
  };
}

/** A table of the chart's values, made when somebody opens it; where there is a table already, the way to it. */
function addValues(figure, chart) {
  if (chart.table) {
    const { id, title } = blocks.get(chart.table);
    figure.append(element("p", { class: "values-link" }, "Data: ", element("a", { href: `#table-${id}` }, visible(title))));
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
  const head = element("tr", {}, ...headings.map((text, place) => element(text ? "th" : "td", { scope: text ? "col" : null, class: place ? "n" : null }, visible(text))));
  const body = rows.map((row) => element("tr", {}, ...row.map((text, place) => (place ? element("td", { class: "n" }, visible(text)) : element("th", { scope: "row" }, visible(text))))));
  const table = element("table", { class: "data heading-first" }, element("thead", {}, head), element("tbody", {}, ...body));
  return element("div", { class: "scroll", role: "group", tabindex: "0", "aria-label": `Data of ${visible(chart.title)}` }, table);
}
