// The cells of a heatmap from the typed columns of a pass under a lens.
const TYPES = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array };
const PSEUDO_HTML = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "%": "&#37;", $: "&#36;" };
const MONO = "ui-monospace, Menlo, 'DejaVu Sans Mono', monospace";

const decode = ({ dtype, bdata }) => new TYPES[dtype](Uint8Array.from(atob(bdata), (c) => c.charCodeAt(0)).buffer);
const literal = (text) => text.replace(/[&<>%$]/g, (c) => PSEUDO_HTML[c]);
const digits = (p) => String(Number(p.toPrecision(4))).padEnd(9);
const isolated = (text) => `\u2068${literal(text)}\u2069`; // its direction of writing stays its own

// The rows of a pass: place, entropy, and what each lists.
function rowsOf(part) {
  const columns = Object.fromEntries(Object.entries(part).filter(([, c]) => c.dtype).map(([name, c]) => [name, decode(c)]));
  let first = 0;
  return Array.from(columns.layer, (layer, i) => {
    const row = { layer, first, columns, count: columns.count[i] };
    for (const name of ["pos", "token", "entropy", "rest"]) row[name] = columns[name][i];
    first += row.count;
    return row;
  });
}

function hover(row, tokens) {
  const listed = [];
  for (let i = row.first; i < row.first + row.count; i++) {
    listed.push(`${digits(row.columns.p[i])} ${isolated(tokens[row.columns.top[i]])}`);
  }
  const head = `layer ${row.layer}, position ${row.pos}: ${isolated(tokens[row.token])}`;
  return [head, `entropy ${row.entropy.toFixed(4)} bits`, ...listed, `${digits(row.rest)} all others`].join("<br>");
}

function cells(heatmap, part, colour) {
  const { layers, positions, tokens, brief, colours } = heatmap;
  const grid = (empty) => Array.from({ length: layers }, () => Array(positions).fill(empty));
  const z = grid(null), text = grid(""), hovertext = grid(null);
  const cell = (token) => literal(brief[token] ?? tokens[token]);
  for (const row of (part.rows ??= rowsOf(part))) {
    const { top, p } = row.columns, value = colour === colours[0] ? row.entropy : row.count ? p[row.first] : null;
    z[row.layer][row.pos] = Number.isFinite(value) ? value : null;
    text[row.layer][row.pos] = row.count ? cell(top[row.first]) : "";
    hovertext[row.layer][row.pos] = hover(row, tokens);
  }
  const meta = { show: part.show }, font = { family: MONO, size: 10, color: theme().letters };
  const read = decode(part.input.pos), input = decode(part.input.token);
  return [
    { type: "heatmap", z, text, hovertext, meta, visible: true, hoverinfo: "text", hoverongaps: false, texttemplate: "%{text}",
      textfont: font, coloraxis: colour === colours[0] ? "coloraxis" : "coloraxis2", xgap: 1, ygap: 1 },
    { type: "scatter", mode: "text", x: [...read], y: Array(read.length).fill(-1), text: Array.from(input, cell), meta,
      hovertext: Array.from(input, (token, i) => `position ${read[i]}: ${literal(tokens[token])}`), hoverinfo: "text",
      textfont: { ...font, color: theme().ink } },
  ];
}

function heatmapFigure(heatmap, wanted, chosen) {
  const layout = themed(structuredClone(heatmap.layout)), { sure } = theme();
  const scale = (colours) => colours.map((colour, i) => [i / (colours.length - 1), colour]);
  layout.coloraxis.colorscale = scale([...sure].reverse());
  layout.coloraxis2.colorscale = scale(sure);
  const notes = heatmap.notes.filter((note) => wanted(note.show)).map((note) => ({
    type: "scatter", mode: "text", x: [(heatmap.positions - 1) / 2], y: [(heatmap.layers - 1) / 2], text: [literal(note.text)],
    textfont: { size: 14 }, hoverinfo: "skip",
  }));
  const parts = heatmap.parts.filter((part) => wanted(part.show));
  return { data: [...parts.flatMap((part) => cells(heatmap, part, chosen)), ...notes], layout };
}
