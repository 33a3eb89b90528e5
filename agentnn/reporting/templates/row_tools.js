// Which columns of a table are drawn, and how.

function scatterTools(plot) {
  const { block: chart, state } = plot;
  const columns = columnsOf(blocks.get(chart.table));
  const logs = { x: logToggle(plot, columns, "x"), y: logToggle(plot, columns, "y") };
  const option = (key) => [key, titleOf(columns.get(key))];
  const options = [...new Set([chart.x, chart.y, ...(chart.choices ?? [])])].map(option);
  const colours = [...new Map([...(chart.colour ? [option(chart.colour)] : []), ...options])];
  const change = (name) => (key) => {
    state[name] = key;
    delete state[`log${name.toUpperCase()}`];
    for (const log of Object.values(logs)) log.update();
    redraw(plot);
  };
  plot.tools.append(
    chooser("X axis", options, chart.x, change("x")), logs.x.button,
    chooser("Y axis", options, chart.y, change("y")), logs.y.button,
    chooser("Colour", [["", "nothing"], ...colours], chart.colour ?? "", change("colour")),
  );
}

function logToggle(plot, columns, axis) {
  const { block: chart, state } = plot;
  const name = `log${axis.toUpperCase()}`;
  const key = () => state[axis] ?? chart[axis];
  const isLog = () => state[name] ?? (chart.log_columns ?? []).includes(key());
  const button = toggle("log", isLog(), (now) => {
    state[name] = now;
    redraw(plot);
  });
  button.setAttribute("aria-label", `Log scale of the ${axis} axis`);
  const update = () => {
    button.setAttribute("aria-pressed", String(isLog()));
    button.disabled = !isNumeric(blocks.get(chart.table), columns.get(key()));
  };
  update();
  return { button, update };
}
