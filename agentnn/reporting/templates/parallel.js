// Parallel coordinates, in our own SVG: Plotly's need eval, which the page's policy refuses.

const SVG = "http://www.w3.org/2000/svg";
const FEW = 6;
const PARALLEL = { height: 340, top: 46, bottom: 26, side: 54, narrowest: 104 };

function svg(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function startParallel(figure, chart) {
  const table = blocks.get(chart.table);
  const columns = columnsOf(table);
  const colour = columns.get(chart.colour);
  const view = { chart, figure, table, area: figure.querySelector(".plot"), brushes: new Map(), colour, tip: element("div", { class: "tip", hidden: true }) };
  view.rows = table.rows.filter((row) => typeof row[colour.place] === "number");
  view.axes = [...chart.columns.filter((key) => key !== chart.colour), chart.colour].map((key) => parallelAxis(view, columns.get(key)));
  view.area.style.height = `${PARALLEL.height}px`;
  view.status = element("p", { class: "count", role: "status" });
  view.clear = toolButton("Clear selection", () => {
    view.brushes.clear();
    drawParallel(view);
  });
  view.clear.hidden = true;
  figure.querySelector(".corner").append(view.status, view.clear);
  figure.querySelector(".legend").append(element("p", { class: "hint" }, "Drag along an axis to select a range of it."));
  figure.append(view.tip);
  watchParallel(view);
}

function watchParallel(view) {
  const near = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    near.disconnect();
    new ResizeObserver(() => {
      if (Math.abs(view.area.clientWidth - (view.width ?? 0)) > 1) drawParallel(view);
    }).observe(view.area);
  }, { rootMargin: NEAR });
  near.observe(view.area);
  themeListeners.push(() => view.width && drawParallel(view));
  printListeners.push(() => drawParallel(view));
}

/** An axis: where a value is on it (0 below, 1 above), and what its ticks say. */
function parallelAxis(view, column) {
  const values = view.rows.map((row) => row[column.place]);
  const numbers = values.filter((value) => typeof value === "number");
  const title = visible(titleOf(column));
  if (!isNumeric(view.table, column) || !numbers.length) return { column, title, ...categories(values) };
  const isLog = (view.chart.log_columns ?? []).includes(column.key) && numbers.every((value) => value > 0);
  return { column, title, ...scale(numbers, isLog, column) };
}

function categories(values) {
  const texts = [...new Set(values.filter((value) => value !== null).map(String))].sort(collator.compare);
  const at = (value) => (value === null ? null : texts.length < 2 ? 0.5 : (texts.indexOf(String(value)) + 0.5) / texts.length);
  return { at, ticks: texts.length > 16 ? [] : texts.map((text) => [at(text), visible(text)]) };
}

function scale(numbers, isLog, column) {
  const there = isLog ? Math.log10 : Number;
  const [least, most] = extent(numbers).map(there);
  const size = most - least;
  const at = (value) => (typeof value !== "number" ? null : size ? (there(value) - least) / size : 0.5);
  const distinct = [...new Set(numbers)];
  const values = distinct.length <= FEW ? distinct : isLog ? logTicks(numbers).tickvals.filter((value) => there(value) >= least && there(value) <= most) : niceValues(least, most);
  const isRound = isLog && distinct.length > FEW;
  return { at, ticks: apart(values.map((value) => [at(value), isRound ? powerText(value) : shown(value, column.shape)])) };
}

/** Of ticks that lie on one another only the first. */
function apart(ticks) {
  const kept = [];
  for (const tick of ticks.sort(([one], [other]) => one - other)) if (!kept.length || tick[0] - kept.at(-1)[0] > 0.045) kept.push(tick);
  return kept;
}

/** About five round values from the least to the most. */
function niceValues(least, most) {
  const rough = (most - least) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((size) => size >= rough);
  const first = Math.ceil(least / step - 1e-9);
  const count = Math.floor(most / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, place) => Number(((first + place) * step).toPrecision(12)));
}

function drawParallel(view) {
  const available = root.dataset.printing ? PRINTED_WIDTH : view.area.clientWidth;
  view.width = view.area.clientWidth;
  const width = Math.max(available, (view.axes.length - 1) * PARALLEL.narrowest + 2 * PARALLEL.side);
  const colours = palette();
  const step = (width - 2 * PARALLEL.side) / Math.max(view.axes.length - 1, 1);
  view.x = view.axes.map((_, place) => PARALLEL.side + place * step);
  view.y = (at) => PARALLEL.top + (1 - at) * (PARALLEL.height - PARALLEL.top - PARALLEL.bottom);
  const best = view.axes.at(-1);
  const goodness = (row) => (view.chart.direction === "min" ? 1 - best.at(row[view.colour.place]) : best.at(row[view.colour.place]));
  const ordered = [...view.rows].sort((one, other) => goodness(one) - goodness(other));
  view.lines = ordered.map((row) => ({ row, path: parallelLine(view, row, onScale(colours.scale, goodness(row))) }));
  const drawing = svg("svg", { width, height: PARALLEL.height, "aria-hidden": "true" }, svg("g", { class: "lines" }, ...view.lines.map((line) => line.path)));
  view.axes.forEach((axis, place) => drawing.append(axisGroup(view, axis, place)));
  drawing.addEventListener("pointermove", (event) => pointAt(view, event));
  drawing.addEventListener("pointerleave", () => pointAt(view, null));
  view.drawing = drawing;
  view.area.replaceChildren(drawing);
  if (width > available) view.area.tabIndex = 0; // it scrolls
  else view.area.removeAttribute("tabindex");
  view.area.dataset.drawn = "";
  select(view);
}

function parallelLine(view, row, colour) {
  let [path, isOn] = ["", false];
  view.axes.forEach((axis, place) => {
    const at = axis.at(row[axis.column.place]);
    if (at !== null) path += `${isOn ? "L" : "M"}${view.x[place].toFixed(1)} ${view.y(at).toFixed(1)}`;
    isOn = at !== null;
  });
  return svg("path", { d: path, stroke: colour });
}

function axisGroup(view, axis, place) {
  const group = svg("g", { class: "axis", transform: `translate(${view.x[place].toFixed(1)} 0)` });
  const isLast = place === view.axes.length - 1;
  const anchor = isLast ? "end" : place === 0 ? "start" : "middle";
  const title = svg("text", { class: "axis-title", y: PARALLEL.top - 24, "text-anchor": anchor, x: isLast ? PARALLEL.side - 6 : place === 0 ? 6 - PARALLEL.side : 0 }, shortened(axis.title, 15));
  title.append(svg("title", {}, axis.title));
  group.append(title, svg("line", { y1: view.y(1), y2: view.y(0) }));
  for (const [at, text] of axis.ticks) group.append(svg("text", { class: "tick", x: isLast ? -6 : 6, y: view.y(at), dy: "0.32em", "text-anchor": isLast ? "end" : "start" }, shortened(text, 12)));
  const brushed = svg("rect", { class: "brushed", x: -7, width: 14, visibility: "hidden" });
  const grip = svg("rect", { class: "grip", x: -16, width: 32, y: PARALLEL.top - 8, height: view.y(0) - PARALLEL.top + 16 });
  group.append(brushed, grip);
  grip.addEventListener("pointerdown", (event) => brush(view, axis, brushed, grip, event));
  showBrush(view, axis, brushed);
  return group;
}

function shortened(text, most) {
  const chars = [...text];
  return chars.length > most ? `${chars.slice(0, most - 1).join("")}…` : text;
}

function brush(view, axis, brushed, grip, event) {
  const at = (one) => {
    const inside = one.clientY - view.drawing.getBoundingClientRect().top;
    return Math.min(Math.max((view.y(0) - inside) / (view.y(0) - view.y(1)), 0), 1);
  };
  const from = at(event);
  const move = (one) => {
    const to = at(one);
    if (Math.abs(to - from) < 0.01) view.brushes.delete(axis);
    else view.brushes.set(axis, [Math.min(from, to), Math.max(from, to)]);
    showBrush(view, axis, brushed);
    select(view);
  };
  grip.setPointerCapture(event.pointerId);
  grip.addEventListener("pointermove", move);
  grip.addEventListener("pointerup", (one) => {
    move(one);
    grip.removeEventListener("pointermove", move);
  }, { once: true });
  event.preventDefault();
}

function showBrush(view, axis, brushed) {
  const range = view.brushes.get(axis);
  brushed.setAttribute("visibility", range ? "visible" : "hidden");
  if (!range) return;
  brushed.setAttribute("y", view.y(range[1]));
  brushed.setAttribute("height", view.y(range[0]) - view.y(range[1]));
}

function select(view) {
  const isIn = (row) => [...view.brushes].every(([axis, [low, high]]) => {
    const at = axis.at(row[axis.column.place]);
    return at !== null && at >= low && at <= high;
  });
  let count = 0;
  for (const line of view.lines) {
    line.isIn = isIn(line.row);
    count += line.isIn;
    line.path.classList.toggle("off", !line.isIn);
  }
  view.clear.hidden = !view.brushes.size;
  view.status.textContent = view.brushes.size ? `${number(count)} of ${number(view.rows.length)} selected` : "";
}

/** The line under the pointer stands out, and is told. */
function pointAt(view, event) {
  const found = event ? nearestLine(view, event) : null;
  view.pointed?.path.classList.remove("pointed");
  view.pointed = found;
  view.tip.hidden = !found;
  if (!found) return;
  found.path.classList.add("pointed");
  view.tip.replaceChildren(...view.axes.map((axis) => element("div", {}, `${axis.title}: `, element("b", {}, shown(found.row[axis.column.place], axis.column.shape, axis.column.digits ?? null)))));
  const frame = view.figure.getBoundingClientRect();
  const isLeft = event.clientX - frame.left > frame.width / 2;
  view.tip.style.left = isLeft ? "" : `${event.clientX - frame.left + 14}px`;
  view.tip.style.right = isLeft ? `${frame.right - event.clientX + 14}px` : "";
  view.tip.style.top = `${event.clientY - frame.top + 14}px`;
}

function nearestLine(view, event) {
  const frame = view.drawing.getBoundingClientRect();
  const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
  const right = view.x.findIndex((at) => at >= x);
  if (right < 1) return null;
  const share = (x - view.x[right - 1]) / (view.x[right] - view.x[right - 1]);
  let [nearest, least] = [null, 12];
  for (const line of view.lines.filter((one) => one.isIn)) {
    const [a, b] = [right - 1, right].map((place) => view.axes[place].at(line.row[view.axes[place].column.place]));
    if (a === null || b === null) continue;
    const distance = Math.abs(view.y(a + (b - a) * share) - y);
    if (distance <= least) [nearest, least] = [line, distance];
  }
  return nearest;
}
