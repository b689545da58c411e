// Every chart: its traces, its axis, its key. What was measured is ink, forecasts are purple, targets orange, pools have
// a colour each. Plotly draws; only charts on the screen are drawn.

import { last, running, withHoles } from "./data.js";
import { duration, isReal, number, percent, plain, range } from "./words.js";

const OTHERS = ["other1", "other2", "other3"];

export function theme() {
  const style = getComputedStyle(document.documentElement);
  return new Proxy({}, { get: (_, name) => style.getPropertyValue(`--${String(name)}`).trim() });
}

// A pool's colour follows its role; further pools of a role get the other ones.
export function colours(about, names) {
  const taken = new Set();
  const spare = [...OTHERS];
  return Object.fromEntries(names.map((name) => {
    const role = about?.pools[name]?.role ?? name;
    const wish = ["prefill", "decode", "aggregated"].includes(role) ? role : spare.shift();
    const colour = wish && !taken.has(wish) ? wish : spare.shift() ?? "other3";
    taken.add(colour);
    return [name, colour];
  }));
}

// Charts in the order they are read.
export function chartsOf(store) {
  const names = poolNames(store);
  const own = colours(store.now.about, names);
  return [
    load(store),
    kept(store),
    latency(store, "ttft", "Time to first token", "TTFT"),
    latency(store, "itl", "Time between tokens", "ITL"),
    ...names.map((name) => replicas(store, name, own[name])),
    gpus(store, names, own),
    budget(store),
  ].filter(Boolean);
}

export function poolNames(store) {
  const known = Object.keys(store.now.about?.pools ?? {});
  return [...known, ...Object.keys(store.pools).filter((name) => !known.includes(name))];
}

function load(store) {
  const c = theme();
  const m = store.measured;
  const [x, rate] = withHoles(store.times(m, 0.5), m.rate ?? []);
  const f = store.forecast;
  const [fx, low, mid, high] = withHoles(store.times(f, 0.5), f.low ?? [], f.rate ?? [], f.high ?? []);
  const coming = store.now.decision?.forecast;
  return {
    id: "load",
    title: "Load",
    unit: "requests per second",
    traces: [
      ...band(fx, low, high, c.band),
      line(fx, mid, c.forecast, { width: 2, name: "forecast", unit: "/s" }),
      line(x, rate, c.ink, { width: 1.3, name: "arrived", unit: "/s" }),
    ],
    y: { rangemode: "tozero" },
    key: [
      ["line", c.ink, "arrived", m.i?.length ? `${number(last(m.rate))}/s` : ""],
      coming && ["line", c.forecast, "forecast", `${number(coming.rate)}/s`],
      coming && ["area", c.band, "5 to 95 %", `${range(coming.rate_low, coming.rate_high, number)}/s`],
    ],
  };
}

function kept(store) {
  const sla = store.now.about?.sla;
  const m = store.measured;
  if (!sla || !m.requests) return null;
  const c = theme();
  const share = (missed) => m.requests.map((n, row) => (n > 0 ? 100 * (1 - missed[row] / n) : null));
  const all = running(m.requests);
  const sum = running(m.missed);
  const sofar = all.map((n, row) => (n > 0 ? 100 * (1 - sum[row] / n) : null));
  const columns = withHoles(store.times(m, 0.5), share(m.missed_most), share(m.missed), share(m.missed_least), sofar);
  const [x, least, middle, most, whole] = columns;
  const known = middle.filter((v) => v != null).sort((a, b) => a - b);
  const floor = Math.min(100 * sla.goal - 3, known.length ? known[Math.floor(0.02 * known.length)] - 2 : 90);
  return {
    id: "kept",
    title: "Promises kept",
    unit: "% of requests within both targets",
    traces: [
      ...band(x, least, most, c.bracket),
      line(x, middle, c.ink, { width: 1.3, name: "kept both", unit: " %" }),
      line(x, whole, c.faint, { width: 1.5, dash: "dash", name: "since the start", unit: " %" }),
    ],
    target: sla.own.ttft ? null : { at: 100 * sla.goal, text: `goal ${percent(sla.goal)}`, below: true },
    y: { range: [Math.max(0, floor), 100.4] },
    key: [
      ["line", c.ink, "kept both (estimate)", percent(lastShare(store))],
      ["area", c.bracket, "bracket of the buckets"],
      ["dash", c.faint, "since the start", percent(store.now.figures.kept[1])],
    ],
  };
}

const lastShare = (store) => store.now.figures.now.kept[1];

function latency(store, name, title, short) {
  const c = theme();
  const m = store.measured;
  const sla = store.now.about?.sla;
  const target = sla ? 1000 * sla[`${name}_s`] : null;
  const ms = (column) => (column ?? []).map((v) => (v == null ? null : 1000 * v));
  const columns = ["mean", "p95", "low", "high"].map((part) => ms(m[`${name}_${part}`]));
  const bare = columns.map((column) => (column.length ? column : (m.i ?? []).map(() => null)));
  const [x, mean, p95, low, high] = withHoles(store.times(m, 0.5), ...bare);
  const now = store.now.figures.now;
  const p = now[`${name}_p95`];
  const value = Array.isArray(p) ? p[1] : p;
  const bracket = Array.isArray(p);
  return {
    id: name,
    title,
    unit: `${short}, milliseconds`,
    traces: [
      ...(bracket ? band(x, low, high.map((v, k) => v ?? low[k]), c.bracket) : []),
      line(x, mean, c.faint, { width: 1.3, name: "mean", unit: " ms" }),
      line(x, p95, c.ink, { width: 1.5, name: "p95", unit: " ms" }),
      ...(target == null ? [] : [line(x, over(p95, target), c.target, { width: 2.2, quiet: true })]),
    ],
    target: target == null ? null : { at: target, text: `target ${duration(target / 1000)}` },
    y: { range: [0, top(target, p95)] },
    key: [
      ["line", c.ink, bracket ? "p95 (estimate)" : "p95", duration(value)],
      bracket && ["area", c.bracket, "its bucket", p[2] == null ? `above ${duration(p[0])}` : range(p[0], p[2], duration)],
      ["line", c.faint, "mean", duration(now[`${name}_mean`])],
    ],
  };
}

// Only what lies above the target, joined to its neighbours so that a lone point is seen.
const over = (values, target) =>
  values.map((v, k) => (v != null && Math.max(v, values[k - 1] ?? 0, values[k + 1] ?? 0) > target ? v : null));

function top(target, values) {
  const known = values.filter((v) => v != null).sort((a, b) => a - b);
  const most = known.length ? 1.1 * known[Math.floor(0.985 * (known.length - 1))] : 0;
  return Math.max(target == null ? 0 : 1.35 * target, most, 1e-3);
}

function replicas(store, name, colour) {
  const c = theme();
  const p = store.pools[name] ?? {};
  const end = 1000 * store.now.at;
  const [x, wanted, allowed, ready] = withHoles(store.times(p), carried(p.wanted), p.allowed ?? [], p.ready ?? []);
  if (x.length) {
    x.push(Math.max(end, x.at(-1)));
    for (const column of [wanted, allowed, ready]) column.push(column.at(-1));
  }
  const now = store.now.fleet[name] ?? {};
  const role = store.now.about?.pools[name]?.role;
  const stair = { shape: "hv" };
  const most = Math.max(1, ...[...wanted, ...allowed, ...ready].filter((v) => v != null));
  return {
    id: `pool ${name}`,
    title: `Replicas, ${name}`,
    unit: role && role !== name ? role : "",
    traces: [
      { ...line(x, ready, "transparent", { ...stair, name: "ready" }), fill: "tozeroy", fillcolor: alpha(c[colour], 0.28) },
      line(x, wanted, c.soft, { ...stair, width: 1, dash: "dot", name: "wanted" }),
      line(x, allowed, c[colour], { ...stair, width: 2, name: "allowed" }),
    ],
    y: { range: [0, most * 1.12 + 0.2], dtick: most <= 8 ? 1 : undefined, tickformat: "d" },
    key: [
      ["dot", c.soft, "wanted", number(last(p.wanted))],
      ["line", c[colour], "allowed", number(now.allowed)],
      ["area", alpha(c[colour], 0.4), "ready", number(now.ready)],
    ],
  };
}

// Bins without a full decision go on with the wish before them.
function carried(column) {
  let value = null;
  return (column ?? []).map((v) => (value = v ?? value));
}

function gpus(store, names, own) {
  const about = store.now.about;
  if (!about) return null;
  const c = theme();
  const fixed = store.now.figures.static;
  const end = 1000 * store.now.at;
  const traces = names.filter((name) => store.pools[name]).map((name) => {
    const p = store.pools[name];
    const each = about.pools[name]?.gpus ?? 1;
    const x = store.times(p);
    const y = (p.requested ?? []).map((n) => (n == null ? null : n * each));
    if (x.length) { x.push(Math.max(end, x.at(-1))); y.push(y.at(-1)); }
    const look = { shape: "hv", width: 0.8, name: plain(name), unit: " GPUs" };
    return { ...line(x, y, c[own[name]], look), stackgroup: "gpus", fillcolor: alpha(c[own[name]], 0.45) };
  });
  const total = store.now.figures.gpu_hours;
  return {
    id: "gpus",
    title: "GPUs in use",
    unit: "the area is GPU-hours",
    traces,
    target: fixed && { at: fixed.gpus, text: `static-peak ${fixed.gpus}`, colour: c.ink },
    y: { rangemode: "tozero", tickformat: "d", floor: fixed ? 1.15 * fixed.gpus : 0 },
    key: [
      ...names.map((name) => ["area", alpha(c[own[name]], 0.6), name, ""]),
      ["", "", "spent", `${number(total)} GPU-h`],
      fixed && ["", "", fixed.saved >= 0 ? "saved" : "more", `${number(Math.abs(fixed.saved))} GPU-h`],
    ],
  };
}

function budget(store) {
  const sla = store.now.about?.sla;
  const m = store.measured;
  if (!sla || sla.own.ttft || !m.requests) return null;
  const c = theme();
  const x = store.times(m, 1);
  const allowed = running(m.requests).map((n) => (1 - sla.goal) * n);
  const [least, middle, most] = [running(m.missed_least), running(m.missed), running(m.missed_most)];
  const missed = store.now.figures.missed[1];
  return {
    id: "budget",
    title: "Error budget",
    unit: "requests since the start",
    traces: [
      ...band(x, least, most, c.bracket),
      line(x, allowed, c.target, { width: 1.5, dash: "dash", name: "allowed to miss" }),
      line(x, middle, c.ink, { width: 1.5, name: "missed" }),
    ],
    y: { rangemode: "tozero" },
    key: [
      ["line", c.ink, "missed (estimate)", number(missed)],
      ["dash", c.target, `allowed by the goal of ${percent(sla.goal)}`, number(last(allowed))],
    ],
  };
}

function line(x, y, color, { width = 1.5, dash = "solid", name = "", unit = "", shape = "linear", quiet = false } = {}) {
  return {
    type: "scatter", mode: "lines", x, y, name, line: { color, width, dash, shape }, connectgaps: false,
    hoverinfo: quiet ? "skip" : undefined, hovertemplate: quiet ? undefined : `%{y:.4~g}${unit}`,
  };
}

// Between two lines; where either is unknown the area ends.
function band(x, low, high, fillcolor) {
  const base = { type: "scatter", mode: "lines", hoverinfo: "skip", line: { width: 0 } };
  const areas = [];
  let from = 0;
  for (let k = 0; k <= x.length; k++) {
    if (k < x.length && low[k] != null && high[k] != null) continue;
    if (k - from > 1) areas.push([from, k]);
    from = k + 1;
  }
  const xs = [];
  const ys = [];
  for (const [a, b] of areas) { // one closed shape after the other
    xs.push(...x.slice(a, b), ...x.slice(a, b).reverse(), null);
    ys.push(...high.slice(a, b), ...low.slice(a, b).reverse(), null);
  }
  return xs.length ? [{ ...base, x: xs, y: ys, fill: "toself", fillcolor }] : [];
}

export function alpha(color, share) {
  const [r, g, b] = [1, 3, 5].map((k) => parseInt(color.slice(k, k + 2), 16));
  return `rgba(${r}, ${g}, ${b}, ${share})`;
}

const MARKS = { blind: "blind", error: "error" };
export const markOf = (kind) => MARKS[kind] ?? "trouble";

// Faults as upright bands behind the lines, one trace for each kind, at least a few pixels wide.
function marks(store, [from, to]) {
  const c = theme();
  const least = (to - from) / 250;
  const traces = {};
  for (const spell of store.now.faults) {
    const [a, b] = [1000 * spell.begin, 1000 * spell.end];
    if (b < from || a > to) continue;
    const kind = markOf(spell.kind);
    const pad = Math.max(0, least - (b - a)) / 2;
    const trace = (traces[kind] ??= { x: [], y: [] });
    trace.x.push(a - pad, b + pad, b + pad, a - pad, null);
    trace.y.push(0, 0, 1, 1, null);
  }
  return Object.entries(traces).map(([kind, { x, y }]) => ({
    type: "scatter", mode: "lines", x, y, yaxis: "y2", fill: "toself", hoverinfo: "skip", line: { width: 0 },
    ...(kind === "blind"
      ? { fillpattern: { shape: "/", size: 6, solidity: 0.25, fgcolor: c.blind, bgcolor: alpha(c.blind, 0.12) } }
      : { fillcolor: alpha(c[kind], 0.25) }),
  }));
}

export function figure(chart, store, span, narrow) {
  const c = theme();
  const real = isReal(store.now.at);
  const long = span[1] - span[0] > 36e5 * 24;
  const low = chart.y.floor ? { range: [0, Math.max(chart.y.floor, 1.08 * highest(chart.traces))], rangemode: undefined } : {};
  const { floor, ...y } = { ...chart.y, ...low };
  const axis = { gridcolor: c.grid, zeroline: false, linecolor: c.line, tickcolor: c.line, tickfont: { color: c.soft, size: 11 } };
  return {
    data: [...marks(store, span), ...chart.traces],
    layout: {
      autosize: true,
      margin: { l: narrow ? 38 : 46, r: narrow ? 8 : 14, t: 10, b: real ? 38 : 26 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, color: c.ink, size: 12 },
      showlegend: false,
      hovermode: "x unified",
      hoverlabel: { bgcolor: c.card, bordercolor: c.line, font: { color: c.ink, size: 12 } },
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      xaxis: { ...axis, type: "date", range: span, showgrid: false, ticks: "outside", ticklen: 4, nticks: narrow ? 4 : 7,
               hoverformat: real ? "%b %d, %H:%M:%S" : long ? "day %-j, %H:%M:%S" : "%H:%M:%S",
               ...(real ? {} : { tickformat: long ? "day %-j %H:%M" : span[1] - span[0] < 3e5 ? "%H:%M:%S" : "%H:%M" }) },
      yaxis: { ...axis, fixedrange: true, nticks: 6, ...y },
      yaxis2: { overlaying: "y", range: [0, 1], visible: false, fixedrange: true },
      ...targetOf(chart.target, c),
    },
  };
}

function targetOf(target, c) {
  if (!target) return {};
  const color = target.colour ?? c.target;
  return {
    shapes: [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: target.at, y1: target.at, line: { color, width: 1.3, dash: "dash" } }],
    annotations: [{ text: target.text, xref: "paper", x: 0.005, xanchor: "left", y: target.at, yshift: target.below ? -1 : 1,
                    yanchor: target.below ? "top" : "bottom", showarrow: false, font: { color, size: 11.5 },
                    bgcolor: alpha(c.card, 0.75), borderpad: 1 }],
  };
}

// Of a stack: the highest sum. Pools are looked at together, so their columns have the same length.
function highest(traces) {
  const sums = (traces[0]?.y ?? []).map((_, k) => traces.reduce((sum, trace) => sum + (trace.y[k] ?? 0), 0));
  return Math.max(0, ...sums);
}
