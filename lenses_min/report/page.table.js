// What a figure shows now, as a table: for those who cannot see it, and to copy.
function filled(place, heads, rows) {
  const table = document.createElement("table");
  const line = (cells, tag) => {
    const row = table.insertRow();
    cells.forEach((text, i) => {
      const cell = row.appendChild(document.createElement(i ? tag : "th"));
      if (cell.tagName === "TH") cell.scope = tag === "th" ? "col" : "row";
      cell.textContent = text;
    });
  };
  line(heads, "th");
  for (const row of rows) line(row, "td");
  place.replaceChildren(table);
}

const value = (y) => (Number.isFinite(y) ? String(Number(y.toPrecision(4))) : "–");
const unescaped = (text) => text.replace(/&(amp|lt|gt|#37|#36);/g, (_, name) =>
  ({ amp: "&", lt: "<", gt: ">", "#37": "%", "#36": "$" })[name]);

// A row for each curve and panel: where it begins and ends, its least and its largest value.
function curveRows(plot) {
  const titles = plot.layout.annotations.map((title) => title.text);
  const at = (trace, i) => (i < 0 ? "–" : `${value(trace.y[i])} at ${value(trace.x[i])}`);
  return plot.data.filter((trace) => !trace.meta.mark).map((trace) => {
    const there = [...trace.y.keys()].filter((i) => Number.isFinite(trace.y[i]));
    const best = (better) => there.reduce((a, b) => (a < 0 || better(trace.y[b], trace.y[a]) ? b : a), -1);
    const panel = titles[Number(trace.xaxis.slice(1) || 1) - 1];
    return [unescaped(trace.name), panel, at(trace, there.at(0) ?? -1), at(trace, best((a, b) => a < b)),
      at(trace, best((a, b) => a > b)), at(trace, there.at(-1) ?? -1), `${there.length} of ${trace.y.length}`];
  });
}

function tabulate(details, figure) {
  const place = details.querySelector("div"), plot = document.getElementById(details.dataset.of);
  if (figure.curves) {
    const heads = ["curve", "panel", `first, at ${figure.axis}`, "lowest", "highest", "last", "values"];
    filled(place, heads, curveRows(plot));
    return;
  }
  const cells = plot.data.find((trace) => trace.type === "heatmap");
  const heads = ["layer", ...Array.from({ length: figure.positions }, (_, i) => `position ${i}`)];
  const rows = (cells?.text ?? []).map((texts, layer) => [String(layer), ...texts.map(unescaped)]);
  filled(place, heads, rows.reverse());
}
