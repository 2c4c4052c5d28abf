"use strict";
// Draws the charts from top to bottom, and again when the page turns dark or light.
(() => {
  const colours = ["ink", "muted", "line", "surface", "before", "before-soft", "since", "since-soft", "change",
    "change-soft", "page", "page-soft", "joined", "waiting", "notice", "volume"];
  const waiting = new Set(document.querySelectorAll("[data-figure]"));
  const drawn = new Set();
  const pointer = matchMedia("(hover: hover)").matches;

  // a figure names colours of the palette; only values of keys that end in "color" are looked up
  function read(id) {
    const style = getComputedStyle(document.documentElement);
    const palette = new Map(colours.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    const text = document.getElementById(id).textContent;
    return JSON.parse(text, (key, value) => (key.endsWith("color") && palette.get(value)) || value);
  }

  function dressed(figure) {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const axis = {gridcolor: colour("line"), linecolor: colour("line"), zerolinecolor: colour("line"),
      tickfont: {size: 11, color: colour("muted")}, zeroline: false, ticks: ""};
    const layout = {
      showlegend: false, hovermode: "closest", hoverdistance: 40, dragmode: pointer ? "zoom" : false,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", bargap: 0.25,
      font: {family: "system-ui, sans-serif", size: 12, color: colour("ink")},
      hoverlabel: {bgcolor: colour("surface"), bordercolor: colour("muted"), align: "left",
        font: {size: 12, color: colour("ink")}},
      ...figure.layout,
    };
    layout.margin = {l: 52, r: 22, t: 12, b: 40, ...figure.layout.margin};
    layout.xaxis = {...axis, showgrid: false, ...figure.layout.xaxis};
    layout.yaxis = {...axis, fixedrange: true, ...figure.layout.yaxis};
    return layout;
  }

  function draw(box) {
    const figure = read(box.dataset.figure);
    Plotly.react(box, figure.data, dressed(figure), {displayModeBar: false, responsive: true, showTips: false});
    if (waiting.delete(box)) {
      drawn.add(box);
      box.on("plotly_click", (event) => {
        const target = event.points.map((point) => point.customdata).find((id) => /^incident-\d+$/.test(id));
        if (target) location.hash = target;
      });
    }
  }

  // one at a time, so that the page stays usable meanwhile; what is folded away has no width yet
  function drawNext() {
    const box = [...waiting].find((each) => each.clientWidth > 0);
    if (box) {
      draw(box);
      setTimeout(drawNext);
    }
  }

  for (const box of waiting) box.style.minHeight = `${box.dataset.height}px`;
  for (const details of document.querySelectorAll("details")) details.addEventListener("toggle", drawNext);
  setTimeout(drawNext);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach(draw));
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("article > details")) details.open = true;
    [...waiting].forEach(draw);
  });
})();
