// Light and dark: as the system has it, until the button says otherwise. Nothing is kept anywhere.

const root = document.documentElement;
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const SERIES_COLOURS = 8;
const themeListeners = [];

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches;
}

/** The palette in use, resolved: the style sheet is its only source. */
function palette() {
  const probe = element("span", { hidden: true });
  document.body.append(probe);
  const colour = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const numbered = (name, count) => Array.from({ length: count }, (_, place) => colour(`${name}${place + 1}`));
  const found = {
    text: colour("text"), muted: colour("muted"), grid: colour("grid"), surface: colour("surface"),
    border: colour("border"), accent: colour("accent"), other: colour("other"),
    series: numbered("series-", SERIES_COLOURS), scale: numbered("scale-", 5),
  };
  probe.remove();
  return found;
}

/** A colour of the palette with an opacity. */
function faded(colour, opacity) {
  return colour.replace(/^rgba?\(([^,]+),([^,]+),([^,)]+).*$/, `rgba($1,$2,$3,${opacity})`);
}

/** A colour of the scale: from 0, the worse end, to 1, the better. */
function onScale(colours, at) {
  const place = Math.min(Math.max(at, 0), 1) * (colours.length - 1);
  const low = Math.min(Math.floor(place), colours.length - 2);
  const [from, to] = [colours[low], colours[low + 1]].map((colour) => colour.match(/[\d.]+/g).slice(0, 3).map(Number));
  const mixed = from.map((part, index) => Math.round(part + (to[index] - part) * (place - low)));
  return `rgb(${mixed.join(",")})`;
}

function themeChanged() {
  document.getElementById("page-theme").setAttribute("aria-pressed", String(isDark()));
  for (const listener of themeListeners) listener();
}

function startTheme() {
  const button = document.getElementById("page-theme");
  button.hidden = false;
  button.setAttribute("aria-pressed", String(isDark()));
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    themeChanged();
  });
  systemDark.addEventListener("change", () => {
    if (!root.dataset.theme) themeChanged();
  });
}
