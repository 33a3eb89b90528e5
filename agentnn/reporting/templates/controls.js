// What a reader can press and choose.

let choices = 0;

/** An id for a control, to which its label points. */
function newId() {
  choices += 1;
  return `page-choice-${choices}`;
}

function toolButton(text, onclick) {
  return element("button", { type: "button", class: "tool", onclick }, text);
}

/** A button that is pressed or not. */
function toggle(text, isPressed, change) {
  const button = toolButton(text, () => {
    const now = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(now));
    change(now);
  });
  button.setAttribute("aria-pressed", String(isPressed));
  return button;
}

/** A control behind its label. */
function labelled(name, control, ...more) {
  control.id = newId();
  return element("span", { class: "choice" }, element("label", { for: control.id }, name), control, ...more);
}

/** A choice among options, each a value and its title. */
function chooser(name, options, chosen, change) {
  const select = element("select", { onchange: () => change(select.value) });
  for (const [value, title] of options) {
    select.append(element("option", { value, selected: value === chosen }, visible(title)));
  }
  return labelled(name, select);
}

/** What every chart offers. */
function commonTools(plot) {
  plot.reset = toolButton("Reset zoom", () => zoomOut(plot));
  plot.reset.hidden = true;
  const save = toolButton("Save image", () => saveImage(plot));
  save.classList.add("quiet");
  plot.corner.append(plot.reset, save);
}

/** A legend: each of its buttons hides and shows what it names. */
function showLegend(plot, entries) {
  const place = plot.legendPlace;
  const known = entries.map((entry) => `${entry.key} ${entry.name}`).join("\n");
  if (place.dataset.known === known) return;
  place.dataset.known = known;
  const isPlain = plot.block.type === "LineChart" && entries.length < 2;
  place.replaceChildren(...(isPlain ? [] : entries.map((entry) => legendEntry(plot, entry))));
}

function legendEntry(plot, entry) {
  const swatch = element("span", { class: `swatch ${entry.swatch}`, "aria-hidden": "true" });
  const name = element("span", { class: "legend-name" }, visible(entry.name));
  if (!entry.key) return element("span", { class: "legend-entry" }, swatch, name);
  const { hidden } = plot.state;
  const attributes = { type: "button", class: "legend-entry", title: visible(entry.name) };
  const button = element("button", attributes, swatch, name);
  const say = () => button.setAttribute("aria-pressed", String(!hidden.has(entry.key)));
  button.addEventListener("click", () => {
    if (!hidden.delete(entry.key)) hidden.add(entry.key);
    say();
    for (const one of plot.together ?? [plot]) redraw(one);
  });
  say();
  return button;
}
