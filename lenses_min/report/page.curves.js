// Panels of curves: the traces that are wanted, in as many columns as the width has room for.
const PLOT = 220, GAP = 84, TOP = 32, BOTTOM = 48; // pixels: a panel's height, between two, above and below all
const numbered = (i) => (i ? String(i + 1) : "");

function decoded(curve) {
  if (curve.xs) return curve;
  curve.xs = decode(curve.x);
  curve.ys = Object.fromEntries(Object.entries(curve.y).map(([panel, column]) => [panel, decode(column)]));
  curve.hints = curve.texts?.map((text, i) => `layer ${curve.layers ? curve.layers[i] : curve.xs[i]}: ${literal(text)}`);
  return curve;
}

function trace(figure, curve, panel) {
  const { xs, ys, hints } = decoded(curve), name = literal(curve.name);
  return {
    type: "scatter", mode: figure.markers ? "lines+markers" : "lines", x: xs, y: ys[panel], text: hints, name, legendgroup: name,
    xaxis: `x${numbered(panel)}`, yaxis: `y${numbered(panel)}`, showlegend: figure.alone && panel === Math.min(...Object.keys(ys)),
    line: { color: coloured(curve.colour), dash: curve.dash, width: 1.8 }, meta: { show: curve.show }, visible: true,
    hovertemplate: `${name}<br>${hints ? "%{text}<br>" : ""}%{y:.5~g}<extra></extra>`,
  };
}

// A milestone: an upright across each panel of one run, a point on the curve of several.
function mark(figure, curve, { name, at }, panel, reach) {
  const x = decoded(curve).xs[at], axes = { xaxis: `x${numbered(panel)}`, yaxis: `y${numbered(panel)}` }, shown = literal(name);
  const common = { type: "scatter", hoverinfo: "name", meta: { mark: true }, visible: true, ...axes };
  if (figure.alone) {
    return { ...common, mode: "lines", x: [x, x], y: reach, name: shown, legendgroup: shown, legendrank: 2000, showlegend: panel === 0,
      line: { color: "#94a3b8", dash: "dot", width: 1.2 } };
  }
  return { ...common, mode: "markers", x: [x], y: [curve.ys[panel]?.[at]], name: literal(`${curve.name}: ${name}`), showlegend: false,
    marker: { color: coloured(curve.colour), size: 8 } };
}

function tracesOf(figure, curves) {
  const listed = new Set(); // a name stands in the legend once
  const once = (one) => ({ ...one, showlegend: one.showlegend && !listed.has(one.name) && Boolean(listed.add(one.name)) });
  return figure.panels.flatMap(({ log }, panel) => {
    const values = valuesOf(curves, panel);
    const reach = [Math.min(...values, log ? 1 : 0), Math.max(...values, 1)];
    return curves.flatMap((curve) => [
      ...(panel in curve.y ? [trace(figure, curve, panel)] : []),
      ...curve.marks.map((milestone) => mark(figure, curve, milestone, panel, reach)),
    ]);
  }).map(once);
}

const valuesOf = (curves, panel) => curves.flatMap((curve) => [...(decoded(curve).ys[panel] ?? [])]).filter(Number.isFinite);

// Titles name the warnings that concern what is shown, and say where nothing is.
function titleOf(figure, panel, values, wanted) {
  const { title, empty } = figure.panels[panel];
  if (!values.length) return `${title}: ${empty ? "no values" : "no values of what is chosen"}`;
  const warned = (figure.warned?.[panel] ?? []).filter(({ model }) => wanted({ model: [model] })).map(({ defect }) => defect);
  return title + (warned.length ? ` ⚠ ${[...new Set(warned)].join(", ")}` : "");
}

function arranged(figure, curves, width, names, wanted) {
  const count = figure.panels.length, columns = Math.min(count, width < 640 ? 1 : width < 940 ? 2 : 3);
  const rows = Math.ceil(count / columns), inner = rows * PLOT + (rows - 1) * GAP;
  const between = columns === 1 ? 0 : 60 / width, wide = (1 - between * (columns - 1)) / columns;
  const lines = figure.alone ? Math.ceil((names * 150) / width) : 0;
  const margin = { l: 48, r: 16, t: TOP, b: BOTTOM + lines * 24 };
  const layout = { annotations: [], margin, height: inner + margin.t + margin.b, showlegend: figure.alone, hoverlabel: { namelength: -1 },
    legend: { orientation: "h", y: -46 / inner, yanchor: "top", x: 0 } };
  figure.panels.forEach(({ log }, i) => {
    const values = valuesOf(curves, i);
    const left = (i % columns) * (wide + between), top = 1 - (Math.floor(i / columns) * (PLOT + GAP)) / inner;
    layout[`xaxis${numbered(i)}`] = { anchor: `y${numbered(i)}`, domain: [left, Math.min(1, left + wide)], matches: i ? "x" : undefined,
      title: { text: i + columns >= count ? figure.axis : "", font: { size: 11 }, standoff: 4 } };
    layout[`yaxis${numbered(i)}`] = { anchor: `x${numbered(i)}`, domain: [Math.max(0, top - PLOT / inner), top],
      type: log ? "log" : "linear", showticklabels: values.length > 0,
      ...(log && Math.max(...values) >= 10 ? { dtick: 1 } : {}) }; // else plotly writes 2 and 5 without their powers of 10
    layout.annotations.push({ text: titleOf(figure, i, values, wanted), x: left + wide / 2, y: top, xref: "paper", yref: "paper",
      xanchor: "center", yanchor: "bottom", showarrow: false, font: { size: 13 } });
  });
  return themed(layout);
}

function curvesFigure(figure, width, wanted) {
  const curves = figure.curves.filter((curve) => wanted(curve.show));
  const data = tracesOf(figure, curves);
  const names = new Set(data.filter((one) => one.showlegend).map((one) => one.name));
  return { data, layout: arranged(figure, curves, width, names.size, wanted) };
}
