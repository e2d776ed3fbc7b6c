// The choices of the page: which curves and cells are seen. A figure is drawn when it comes near the screen.
const figures = JSON.parse(document.getElementById("figures").textContent);
const controls = [...document.querySelectorAll("select, input[type=checkbox]")];
const plots = [...document.querySelectorAll(".figure")];
const marked = [...document.querySelectorAll("[data-show]")].map((element) => [element, JSON.parse(element.dataset.show)]);
const config = { displaylogo: false, responsive: true, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
const near = new Set(), stale = new Set(plots);
let chosen = {};

function read() {
  chosen = {};
  for (const { name, type, checked, value } of controls) {
    chosen[name] ??= new Set();
    if (type !== "checkbox" || checked) chosen[name].add(value);
  }
}

const wanted = (show) => Object.entries(show).every(([name, values]) => !chosen[name] || values.some((v) => chosen[name].has(v)));

function heightOf({ layout, panels }) {
  return layout ? layout.height : Math.ceil(panels.length / 3) * (PLOT + GAP) + TOP;
}

function draw(plot) {
  const figure = figures[plot.id], room = printing ? PRINTED : plot.parentElement.clientWidth;
  const { data, layout } = figure.parts ? heatmapFigure(figure, wanted, [...chosen.colour][0]) : curvesFigure(figure, room, wanted);
  if (printing && !figure.parts) layout.width = room;
  plot.style.zoom = printing ? Math.min(1, room / (layout.width ?? room)) : 1;
  plot.style.minHeight = `${layout.height}px`;
  Plotly.react(plot, data, layout, config);
  stale.delete(plot);
  const details = document.querySelector(`details[data-of="${plot.id}"]`);
  if (details.open) tabulate(details, figure);
}

function redraw() {
  for (const plot of plots) stale.add(plot);
  for (const plot of plots) if (near.has(plot) || (plot.data && figures[plot.id].curves)) draw(plot);
  for (const swatch of document.querySelectorAll(".swatch")) swatch.style.color = coloured(swatch.dataset.colour) || "inherit";
}

function choose() {
  read();
  for (const [element, show] of marked) element.hidden = !wanted(show);
  redraw();
  const shown = figures.curves.curves.filter((curve) => wanted(curve.show)).length;
  document.getElementById("status").textContent = `${shown} curve${shown === 1 ? "" : "s"} shown`;
}

function check(name, on) {
  for (const control of controls) if (control.name === name) control.checked = on;
  choose();
}

function print(on) {
  printing = on;
  redraw();
  if (on) for (const plot of plots) if (!plot.closest("[hidden]") && !near.has(plot)) draw(plot);
}

for (const control of controls) control.addEventListener("change", choose);
for (const button of document.querySelectorAll("button[data-all]")) button.addEventListener("click", () => check(button.dataset.all, true));
for (const button of document.querySelectorAll("button[data-none]")) button.addEventListener("click", () => check(button.dataset.none, false));
for (const details of document.querySelectorAll(".as-table")) {
  details.addEventListener("toggle", () => {
    const plot = document.getElementById(details.dataset.of);
    if (!details.open) return;
    if (stale.has(plot)) draw(plot);
    tabulate(details, figures[plot.id]);
  });
}
dark.addEventListener("change", redraw);
addEventListener("beforeprint", () => print(true));
addEventListener("afterprint", () => print(false));
let width = document.body.clientWidth;
addEventListener("resize", () => {
  if (document.body.clientWidth === width || printing) return;
  width = document.body.clientWidth;
  redraw();
});
for (const plot of plots) plot.style.minHeight = `${heightOf(figures[plot.id])}px`; // what is drawn later moves nothing
choose();
const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    near[isIntersecting ? "add" : "delete"](target);
    if (isIntersecting && stale.has(target)) draw(target);
  }
}, { rootMargin: "1000px" });
for (const plot of plots) observer.observe(plot);
