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

  const room = (place) => {
    const style = getComputedStyle(place);
    return Math.max(place.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight), 200);
  };

  const chart = (place, data) => {
    const kind = KINDS[place.dataset.kind];
    const now = place.closest(".card").querySelector(".hs-now");
    const last = now.textContent;
    const names = place.dataset.series.split(" ");
    const top = Number(place.dataset.top);
    const ink = colour("--hs-graph-ink");
    const line = colour("--hs-graph-line");
    const strokes = [colour("--hs-graph-1"), colour("--hs-graph-2")];
    const [short, long] = moments[data.span].map((how) => new Intl.DateTimeFormat(undefined, how));
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    // Under the pointer the card's head tells of that moment, else of the last one.
    const told = (plot) => {
      const place = plot.cursor.idx;
      const values = place == null ? [] : names.map((_, number) => plot.data[number + 1][place]);
      const known = values.length && values.every((value) => value != null);
      now.textContent = known ? `${long.format(plot.data[0][place] * 1000)}: ${values.map(kind.write).join(" / ")}` : last;
    };
    const options = {
      width: room(place),
      height: HEIGHT,
      padding: [10, 22, 0, 0],
      cursor: { y: false, drag: { x: false, y: false } },
      legend: { show: false },
      scales: {
        x: { min: data.since, max: data.until },
        y: { range: (_, low, high) => [0, top || Math.max((high || 0) * 1.15, kind.least)] },
      },
      axes: [
        { ...axis, size: 30, space: 64, values: (_, splits) => splits.map((at) => short.format(at * 1000)) },
        { ...axis, size: 76, space: 26, ...(kind.binary ? { incrs: POWERS } : {}), values: (_, splits) => splits.map(kind.write) },
      ],
      hooks: { setCursor: [told] },
      series: [
        {},
        ...names.map((_, number) => ({
          stroke: strokes[number],
          fill: number === 0 ? `${strokes[0]}22` : undefined,
          width: 1.5,
          points: { show: false },
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
      const width = room(drawn.root.parentElement);
      if (Math.abs(width - drawn.width) > 1) drawn.setSize({ width, height: HEIGHT });
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
