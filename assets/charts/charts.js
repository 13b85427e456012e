// Line charts on uPlot with shared units, colours and cursors. See README.md.
"use strict";
const charts = (() => {
  // Numbers with units, as loadgen/src/units.rs prints them.
  const count = (value) => Math.round(value).toLocaleString("en-US");
  const digits = (value) => value < 9.995 ? value.toFixed(2) : value < 99.95 ? value.toFixed(1) : count(value);
  const number = (value) => value < 100 && Math.abs(value - Math.round(value)) >= .05 ? value.toFixed(1) : count(value);
  const scaled = (value, steps) => {
    for (const [unit, one, most] of steps) if (value < most) return `${digits(value / one)} ${unit}`;
  };
  const rate = (value) => value < 999999.5 ? `${number(value)}/s`
    : scaled(value, [["M/s", 1e6, 999999500], ["G/s", 1e9, 999999.5e6], ["T/s", 1e12, Infinity]]);
  const micros = (value) => value < .9995 ? `${Math.round(value * 1e3)} ns`
    : scaled(value, [["µs", 1, 999.5], ["ms", 1e3, 999500], ["s", 1e6, Infinity]]);
  const bytes = (value) => value < 999.5 ? `${Math.round(value)} B`
    : scaled(value, [["kB", 1e3, 999500], ["MB", 1e6, 999.5e6], ["GB", 1e9, 999.5e9], ["TB", 1e12, Infinity]]);
  const share = (value) => {
    const percent = value * 100;
    if (percent <= 0) return "0 %";
    if (value >= 1) return "100 %";
    if (percent < .001) return "<0.001 %";
    if (percent > 99.99) return ">99.99 %";
    return `${percent < 1 ? percent.toFixed(3) : digits(percent)} %`;
  };
  const seconds = (value) => `${number(value)} s`;
  const clock = (value) => new Date(value * 1e3).toLocaleTimeString("en-GB");
  const units = { count, number, rate, micros, bytes, share, seconds, clock };

  // Labels of ticks are shorter: they have no zeros at their end.
  const short = (value) => value.toLocaleString("en-US", { maximumSignificantDigits: 3 });
  const tick = {
    micros: (value) => value < 1 ? `${short(value * 1e3)} ns` : value < 1e3 ? `${short(value)} µs`
      : value < 1e6 ? `${short(value / 1e3)} ms` : `${short(value / 1e6)} s`,
    rate: (value) => value < 1e4 ? short(value) : value < 1e6 ? `${short(value / 1e3)}k` : `${short(value / 1e6)}M`,
    share: (value) => `${short(value * 100)} %`,
    seconds: short,
    count: short,
    clock: (value) => value % 60 ? clock(value) : clock(value).slice(0, 5),
    percentile: (value) => `${parseFloat((100 / (1 + 10 ** -value)).toPrecision(9))}`,
  };

  // Percentiles stand on a log-odds axis: p50 in the middle, each further nine one step to the right.
  const logOdds = (quantile) => Math.log10(quantile / (1 - quantile));
  const percentiles = [.001, .01, .1, .5, .9, .99, .999, .9999, .99999, .999999, .9999999, .99999999].map(logOdds);

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const all = [];

  // Draws a chart into `parent`:
  //   title, note, x: {kind: seconds | percentile | rate | clock, label, values},
  //   y: {kind: micros | rate | share | count, label, log, max, least}, and
  //   series: [{label, color, values, width, dash, dots}], where null is a gap;
  //   rules: [{at, label, color}], upright lines; marks: [{x, y, good, color}], single points;
  //   height; live, for a chart whose values change: `x.range` returns the ends of its axis, and the
  //   legend has the newest values.
  // Returns nothing where no series has a point, unless it is live. Else the chart, whose `update`
  // takes the columns x and y, and whose `remove` takes it away.
  function draw(parent, chart) {
    const { live } = chart;
    const series = chart.series.filter((one) => live || one.values.some((value) => value !== null));
    if (series.length === 0) return;
    const figure = document.createElement("figure");
    for (const [tag, text] of [["h3", chart.title], ["p", chart.note]]) {
      figure.append(Object.assign(document.createElement(tag), { textContent: text }));
    }
    parent.append(figure);
    const place = figure.appendChild(document.createElement("div"));
    const size = () => ({ width: Math.max(place.clientWidth, 200), height: chart.height ?? (innerWidth < 600 ? 230 : 270) });
    const { x, y, rules = [], marks = [] } = chart;
    const axis = (kind, label, more) => ({
      label, labelSize: label ? 20 : 0, labelFont: "12px system-ui, sans-serif", font: "11px system-ui, sans-serif",
      stroke: () => color("--soft"), grid: { stroke: () => color("--line"), width: 1 },
      ticks: { stroke: () => color("--axis"), width: 1, size: 4 }, gap: 4, size: 30,
      values: (_, splits) => splits.map((at) => at === null ? null : tick[kind](at)), ...more,
    });
    const spread = (plot, ticks) => {
      let last = -Infinity;
      return ticks.filter((at) => {
        const left = plot.valToPos(at, "x"), fits = left - last >= 46;
        if (fits) last = left;
        return fits;
      });
    };
    const xAxis = axis(x.kind, x.label, x.kind !== "percentile" ? { space: 60 } : {
      splits: (plot, _, from, to) => spread(plot, percentiles.filter((at) => at >= from && at <= to)),
    });
    const heights = marks.map((mark) => mark.y).filter((height) => height > 0 || !y.log);
    const yRange = (_, low, high) => {
      const [least, most] = [Math.min(low ?? 1, ...heights), Math.max(high ?? 1, ...heights)];
      return y.log ? uPlot.rangeLog(least, most, 10, false) : [0, y.max ?? (Math.max(most * 1.08, y.least ?? 0) || (y.kind === "share" ? .01 : 1))];
    };
    // Marks at the ends need room, and a single point has no extent.
    const margin = (low, high) => low === high ? .5 : marks.length ? (high - low) * .05 : 0;
    const print = (value) => value === undefined ? "" : value === null ? "–" : units[y.kind](value);
    const newest = (plot, own) => plot.data[own]?.at(-1) ?? null;
    const plot = new uPlot({
      ...size(),
      padding: [10, 20, 0, 0],
      cursor: { sync: ["seconds", "clock"].includes(x.kind) ? { key: x.kind } : undefined, points: { size: 7 }, drag: { x: !live, y: false } },
      legend: { markers: { width: 0, fill: (_, at) => at > 0 ? `var(${series[at - 1].color})` : "transparent" } },
      scales: {
        x: { time: x.kind === "clock", range: x.range ?? ((_, low, high) => [low - margin(low, high), high + margin(low, high)]) },
        y: { distr: y.log ? 3 : 1, range: yRange },
      },
      axes: [xAxis, axis(y.kind, y.label, { size: y.kind === "micros" ? 58 : 50, labelSize: y.label ? 18 : 0, space: 28 })],
      series: [
        { label: x.short ?? x.label, value: (_, at) => at === null ? "" : x.kind === "percentile" ? `p${tick.percentile(at)}` : units[x.kind](at) },
        ...series.map((one) => ({
          label: one.label, stroke: () => color(one.color), width: one.width ?? 2, dash: one.dash,
          points: { show: one.dots || one.values.length < 3 ? true : undefined, size: 5 },
          value: (plot, value, own, at) => print(at === null && live ? newest(plot, own) : at === null ? undefined : value),
        })),
      ],
      hooks: { draw: [(plot) => { rules.forEach((rule) => drawRule(plot, rule)); marks.forEach((mark) => drawMark(plot, mark)); }] },
    }, [x.values, ...series.map((one) => one.values)], place);
    new ResizeObserver(() => { if (plot.width !== size().width) plot.setSize(size()); }).observe(place);
    const canvas = plot.ctx.canvas;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", chart.title);
    const update = (columns) => {
      plot.setData(columns);
      const texts = series.map((one, at) => `${one.label} ${print(newest(plot, at + 1))}`);
      canvas.setAttribute("aria-label", `${chart.title}. Newest: ${texts.join(", ")}.`);
    };
    const remove = () => {
      plot.destroy();
      figure.remove();
      all.splice(all.indexOf(drawn), 1);
    };
    const drawn = { title: chart.title, figure, plot, rules, marks, colors: series.map((one) => one.color), update, remove };
    all.push(drawn);
    return drawn;
  }

  function drawRule(plot, { at, label, color: name }) {
    const { ctx, bbox } = plot, left = plot.valToPos(at, "x", true), px = devicePixelRatio;
    if (left < bbox.left || left > bbox.left + bbox.width) return;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = color(name);
    ctx.lineWidth = 1.5 * px;
    ctx.setLineDash([5 * px, 4 * px]);
    ctx.beginPath();
    ctx.moveTo(left, bbox.top);
    ctx.lineTo(left, bbox.top + bbox.height);
    ctx.stroke();
    ctx.font = `600 ${11 * px}px system-ui, sans-serif`;
    const isLeft = left > bbox.left + bbox.width / 2;
    ctx.textAlign = isLeft ? "right" : "left";
    ctx.textBaseline = "top";
    ctx.fillText(label, left + (isLeft ? -6 : 6) * px, bbox.top + 3 * px);
    ctx.restore();
  }

  // A circle for a good point, a cross for a bad one.
  function drawMark(plot, { x, y, good, color: name }) {
    const { ctx, bbox } = plot, px = devicePixelRatio;
    const left = plot.valToPos(x, "x", true), top = plot.valToPos(y, "y", true), half = 4 * px;
    if (left < bbox.left - 1 || left > bbox.left + bbox.width + 1) return;
    ctx.save();
    ctx.strokeStyle = color(name);
    ctx.lineWidth = 1.5 * px;
    ctx.beginPath();
    if (good) ctx.arc(left, top, half * .8, 0, 7);
    else for (const side of [-1, 1]) { ctx.moveTo(left - half, top - side * half); ctx.lineTo(left + half, top + side * half); }
    ctx.stroke();
    ctx.restore();
  }

  const redraw = () => all.forEach(({ plot }) => plot.redraw(false));
  for (const query of ["print", "(prefers-color-scheme: dark)"]) matchMedia(query).addEventListener("change", redraw);
  return { all, draw, logOdds, units };
})();
