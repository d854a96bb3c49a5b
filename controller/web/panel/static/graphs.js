// Draws the load of a box with uPlot. Without it the numbers beside each graph and the table remain.
(() => {
  "use strict";
  if (!window.uPlot) return;

  const HEIGHT = 170;
  const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  const size = (count) => {
    let unit = 0;
    while (Math.abs(count) >= 1024 && unit < UNITS.length - 1) {
      count /= 1024;
      unit += 1;
    }
    return `${count >= 10 || unit === 0 || count === 0 ? Math.round(count) : count.toFixed(1)} ${UNITS[unit]}`;
  };
  const KINDS = {
    percent: { write: (value) => `${Math.round(value)} %`, least: 100 },
    number: { write: (value) => String(Math.round(value * 100) / 100), least: 1 },
    size: { write: size, least: 1024, binary: true },
    flow: { write: (value) => `${size(value)}/s`, least: 1024, binary: true },
  };
  const POWERS = Array.from({ length: 52 }, (_, power) => 2 ** power);
  const WIDE = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  const moments = {
    hour: [WIDE, { ...WIDE, second: "2-digit" }],
    day: [WIDE, { weekday: "short", ...WIDE }],
    month: [{ day: "numeric", month: "short" }, { day: "numeric", month: "short", ...WIDE }],
  };

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  let charts = [];

  const chart = (place, data) => {
    const kind = KINDS[place.dataset.kind];
    const labels = JSON.parse(place.dataset.labels);
    const names = place.dataset.series.split(" ");
    const top = Number(place.dataset.top);
    const ink = colour("--tblr-secondary") || "#667";
    const line = colour("--tblr-border-color") || "#ccc";
    const strokes = [colour("--hs-graph-1"), colour("--hs-graph-2")];
    const [short, long] = moments[data.span].map((how) => new Intl.DateTimeFormat(undefined, how));
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const options = {
      width: Math.max(place.clientWidth, 200),
      height: HEIGHT,
      padding: [10, 8, 0, 0],
      cursor: { y: false, drag: { x: false, y: false } },
      legend: { show: true },
      scales: {
        x: { min: data.since, max: data.until },
        y: { range: (_, low, high) => [0, top || Math.max((high || 0) * 1.15, kind.least)] },
      },
      axes: [
        { ...axis, space: 64, values: (_, splits) => splits.map((at) => short.format(at * 1000)) },
        { ...axis, size: 76, space: 36, ...(kind.binary ? { incrs: POWERS } : {}), values: (_, splits) => splits.map(kind.write) },
      ],
      series: [
        { label: "At", value: (_, at) => (at == null ? "" : long.format(at * 1000)) },
        ...names.map((_, number) => ({
          label: labels[number],
          stroke: strokes[number],
          fill: number === 0 ? `${strokes[0]}22` : undefined,
          width: 1.5,
          points: { show: false },
          value: (_, value) => (value == null ? "" : kind.write(value)),
        })),
      ],
    };
    return new uPlot(options, [data.at, ...names.map((name) => data.series[name])], place);
  };

  const draw = () => {
    for (const drawn of charts) drawn.destroy();
    charts = [];
    const told = document.getElementById("graphs");
    if (!told) return;
    const data = JSON.parse(told.dataset.graphs);
    charts = [...told.querySelectorAll("[data-series]")].map((place) => chart(place, data));
    told.dataset.drawn = String(charts.length);
  };

  const fit = () => {
    for (const drawn of charts) {
      const width = drawn.root.parentElement.clientWidth;
      if (width && Math.abs(width - drawn.width) > 1) drawn.setSize({ width, height: HEIGHT });
    }
  };

  // Whoever looks at the page sees the newest samples; a tab in the background asks for nothing.
  const again = () => {
    const told = document.getElementById("graphs");
    const seconds = told ? Number(told.dataset.every) : 10;
    setTimeout(() => {
      if (!document.hidden) document.body.dispatchEvent(new CustomEvent("hs-box"));
      again();
    }, seconds * 1000);
  };

  draw();
  again();
  addEventListener("resize", fit);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTimeout(draw));
  document.body.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target && event.detail.target.id === "live") draw();
  });
})();
