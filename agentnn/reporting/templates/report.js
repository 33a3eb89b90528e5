// The report that this page carries.

const report = JSON.parse(document.getElementById("agentnn-report").textContent);
const blocks = new Map(report.sections.flatMap((section) => section.blocks).map((block) => [block.id, block]));

/** The columns of a table by key: each with its place. */
function columnsOf(table) {
  return new Map(table.columns.map((column, place) => [column.key, { shape: "text", ...column, place }]));
}

/** A column's title with its unit. */
function titleOf(column) {
  return column.unit ? `${column.title} (${column.unit})` : column.title;
}

/** Whether a column is drawn on a scale of numbers: it says so, and has any. */
function isNumeric(table, column) {
  return NUMERIC.has(column.shape) && table.rows.some((row) => typeof row[column.place] === "number");
}

/** Where the points of a series are: by itself, or as the chart says for all. */
function abscissas(chart, series) {
  return series.x ?? chart.x ?? [];
}
