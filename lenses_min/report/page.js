// The choices of the bar: which traces are seen, and what colours the cells.
const figures = JSON.parse(document.getElementById("figures").textContent);
const selects = [...document.querySelectorAll("select")];
const config = { displaylogo: false, responsive: true, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };

function choose() {
  const want = Object.fromEntries(selects.map((select) => [select.name, select.value]));
  for (const [id, figure] of Object.entries(figures)) {
    for (const trace of figure.data) {
      const { show = {}, z } = trace.meta ?? {};
      trace.visible = Object.entries(show).every(([name, values]) => values.includes(want[name]));
      if (z) {
        trace.z = z[want.colour];
        trace.coloraxis = Object.keys(z)[0] === want.colour ? "coloraxis" : "coloraxis2";
      }
    }
    Plotly.react(id, figure.data, figure.layout, config);
  }
}

for (const select of selects) select.addEventListener("change", choose);
choose();
