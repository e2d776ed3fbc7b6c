// Colours of the screen, light or dark; paper is light.
const LIGHT = { paper: "#ffffff", ink: "#334155", grid: "#e8edf3", letters: "#0f172a", sure: ["#ffffff", "#93c5fd", "#3b82f6"] };
const DARK = { paper: "#0f172a", ink: "#cbd5e1", grid: "#273449", letters: "#f1f5f9", sure: ["#16203a", "#1e3a8a", "#2563eb"] };
const ON_DARK = { "#2563eb": "#60a5fa", "#d97706": "#fbbf24", "#059669": "#34d399", "#db2777": "#f472b6", "#7c3aed": "#a78bfa",
  "#0891b2": "#22d3ee", "#65a30d": "#a3e635", "#64748b": "#cbd5e1", "#dc2626": "#f87171", "#854d0e": "#c08552" };
const PRINTED = 700; // pixels of the width of paper
const dark = matchMedia("(prefers-color-scheme: dark)");
let printing = false;

const theme = () => (dark.matches && !printing ? DARK : LIGHT);
const coloured = (colour) => (theme() === DARK ? ON_DARK[colour] ?? colour : colour);

function themed(layout) {
  const { paper, ink, grid } = theme();
  layout.paper_bgcolor = layout.plot_bgcolor = paper;
  layout.font = { family: "system-ui, 'Segoe UI', sans-serif", size: 12, color: ink };
  layout.hoverlabel = { bgcolor: paper, bordercolor: ink, ...layout.hoverlabel, font: { color: ink, ...layout.hoverlabel?.font } };
  layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: ink, activecolor: ink };
  for (const [name, axis] of Object.entries(layout)) {
    if (/^[xy]axis/.test(name)) Object.assign(axis, { gridcolor: grid, linecolor: grid, zerolinecolor: grid, automargin: true });
  }
  return layout;
}
