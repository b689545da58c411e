// The page: asks for what is new, writes the figures, draws the charts. Text from the log is only ever set as text.

import { Store } from "./data.js";
import { alpha, chartsOf, figure, markOf } from "./charts.js";
import { duration, isReal, moment, number, percent, range, span as spanOf, UNKNOWN } from "./words.js";

const REFRESH_MS = 2000;
const QUIET_S = 90; // without a new step for so long, the log is taken to be at its end
const CONFIG = { displayModeBar: false, responsive: true, doubleClick: false, showTips: false };
const MARK_WORDS = { blind: "blind: nothing could be measured", error: "error outside", trouble: "other trouble" };
const $ = (id) => document.getElementById(id);

const store = new Store();
const view = { span: null, zoom: null, seen: new Set(), drawn: new Map(), nodes: new Map() };

function node(tag, text = "", name = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (name) made.className = name;
  return made;
}

// ---------------------------------------------------------------- figures

function cards() {
  const { figures: f, about } = store.now;
  const sla = about?.sla;
  $("cards").replaceChildren(...[keptCard(f, sla), budgetCard(f, sla), ttftCard(f, sla), itlCard(f, sla), loadCard(f), gpuCard(f)]);
}

function card(title, value, lines, { good = null, meter = null } = {}) {
  const made = node("div", "", "card");
  const big = node("b", value);
  if (good != null) big.className = good ? "good" : "bad";
  made.append(node("h2", title), big);
  if (meter != null) {
    const bar = node("div", "", "meter");
    const fill = node("i", "", meter > 1 ? "bad" : "");
    fill.style.width = `${Math.min(100, 100 * meter)}%`;
    bar.append(fill);
    made.append(bar);
  }
  for (const text of lines.filter(Boolean)) made.append(node("small", text));
  return made;
}

function keptCard(f, sla) {
  const [least, middle, most] = f.kept;
  if (middle == null) return card("Kept both promises", UNKNOWN, [sla ? "no request got a first token yet" : "the log does not say what was promised"]);
  const good = sla.own.ttft ? null : middle >= sla.goal;
  const sure = least >= sla.goal || most < sla.goal;
  const hour = f.worst_hour[0] ?? f.worst_5min[0];
  return card(good == null ? "Within both targets" : "Kept both promises", percent(middle), [
    good == null
      ? `promised: ${sla.text}`
      : `${good ? "✓ above" : "✗ below"} the goal of ${percent(sla.goal)}${sure ? "" : ", as estimated"}`,
    least === most ? "" : `${range(least, most, percent)} by the buckets`,
    hour == null ? "" : `worst ${f.worst_hour[0] == null ? "five minutes" : "hour"} ${percent(hour)}`,
    f.unanswered > Math.max(10, 0.001 * f.requests) ? `${number(f.unanswered)} arrived without a first token (yet): not counted` : "",
    f.itl_unknown > 0.01 ? `ITL not measured for ${percent(f.itl_unknown)} of requests, counted as kept` : "",
  ], { good });
}

function budgetCard(f, sla) {
  if (sla?.own.ttft) return card("Error budget", UNKNOWN, ["each promise has its own"]);
  const allowed = sla ? (1 - sla.goal) * f.requests : 0;
  if (!(allowed > 0)) return card("Error budget", UNKNOWN, []);
  const used = f.missed[1] / allowed;
  return card("Error budget used", percent(used), [
    `${number(f.missed[1])} of ${number(allowed)} misses allowed`,
    f.missed[0] === f.missed[2] ? "" : `${range(f.missed[0], f.missed[2], number)} by the buckets`,
  ], { good: used <= 1, meter: used });
}

function ttftCard(f, sla) {
  const p = f.now.ttft_p95;
  const value = p == null ? UNKNOWN : p[1] == null ? `> ${duration(p[0])}` : duration(p[1]);
  return card("TTFT p95, last 5 min", value, [
    p?.[1] == null ? "" : `estimate in ${range(p[0], p[2], duration)}`,
    `mean ${duration(f.now.ttft_mean)}`,
    sla ? `target ${own(sla.own.ttft)}${duration(sla.ttft_s)}` : "",
  ], { good: judged(sla?.own.ttft, sla?.ttft_s, p && (p[1] ?? Infinity), f.now.ttft_mean) });
}

function itlCard(f, sla) {
  const p = f.now.itl_p95;
  return card("ITL p95, last 5 min", duration(p), [
    p == null ? "" : "steps of workers stand for requests",
    `mean ${duration(f.now.itl_mean)}`,
    sla ? `target ${own(sla.own.itl)}${duration(sla.itl_s)}` : "",
  ], { good: judged(sla?.own.itl, sla?.itl_s, p, f.now.itl_mean) });
}

const latencies = (sla) => `TTFT ≤ ${duration(sla.ttft_s)} and ITL ≤ ${duration(sla.itl_s)}`;

const own = (measure) => (measure ? `for the ${measure} ` : "");

// Good or not, as far as is known: by the mean where the mean was promised, else by the p95.
function judged(measure, target, p95, mean) {
  const value = measure === "mean" ? mean : p95;
  return target != null && value != null ? value <= target : null;
}

function loadCard(f) {
  const coming = store.now.decision?.forecast;
  return card("Load, last 5 min", f.now.rate == null ? UNKNOWN : `${number(f.now.rate)}/s`, [
    coming ? `forecast ${number(coming.rate)}/s within ${spanOf(coming.horizon_s)}` : "",
    coming ? `nine times in ten ${range(coming.rate_low, coming.rate_high, number)}/s` : "",
    `${number(f.requests)} requests so far`,
  ]);
}

function gpuCard(f) {
  if (f.gpu_hours == null) return card("GPU-hours", UNKNOWN, ["the log does not say how many GPUs a replica has"]);
  const fixed = f.static;
  if (!fixed) return card("GPU-hours spent", number(f.gpu_hours), [store.now.static_problem || "static-peak is known after a minute of traffic"]);
  const part = percent(Math.abs(fixed.saved) / Math.max(fixed.gpu_hours, 1e-9));
  const fleet = Object.values(fixed.replicas).join(" + ");
  return card("GPU-hours spent", number(f.gpu_hours), [
    fixed.saved >= 0 ? `${number(fixed.saved)} (${part}) fewer than` : `${number(-fixed.saved)} (${part}) more than`,
    `static-peak: ${number(fixed.gpu_hours)} with ${fleet} replicas`,
  ]);
}

// ---------------------------------------------------------------- words

function head() {
  const { about } = store.now;
  $("name").textContent = about?.name ?? "Decision log";
  document.title = `${about?.name ?? "Decision log"} · SLA planner`;
  $("promise").textContent = about
    ? (about.sla.own.ttft ? about.sla.text : `${percent(about.sla.goal)} of requests with ${latencies(about.sla)}`) +
      ` · law ${about.law}, every ${spanOf(about.interval_s)} · ${about.mode} · ${about.profile}`
    : "The log does not say what was promised: no targets, no attainment, no GPU-hours.";
  const hint = matchMedia("(pointer: coarse)").matches ? [] : ["drag in a chart to zoom all of them"];
  $("zone").textContent = [...(isReal(store.now.at) ? ["times are UTC"] : []), ...hint].join(" · ");
  $("clock").textContent = isReal(store.now.at) ? "UTC." : "The log's own clock, as of a simulation: time of day of the traffic.";
}

function status(text, kind) {
  const place = $("status");
  if (place.textContent !== text) place.textContent = text;
  place.className = `status ${kind}`;
}

function tellStatus() {
  const { now } = store;
  if (now.at == null) return status("waiting for the first step", "");
  if (now.more) return status(`reading the log: ${moment(now.at, now.start)}`, "");
  const lag = isReal(now.at) ? Date.now() / 1000 - now.at : now.heard_s;
  const ago = `${spanOf(Math.max(0, lag))} ago`;
  if (now.heard_s < QUIET_S) return status(`live · last step ${ago}`, "live");
  const looked = spanOf(now.at - now.start);
  return isReal(now.at) ? status(`last step ${ago} · ${looked} of log`, "stale") : status(`finished log · ${looked}`, "");
}

function wrong() {
  const { wrong: spells, decision, start } = store.now;
  const items = spells.map((spell) => {
    const item = node("li");
    item.append(node("b", `${spell.kind === "blind" ? "Blind" : "Trouble"} since ${moment(spell.begin, start)}: `), spell.text);
    return item;
  });
  if (decision && !decision.feasible) items.push(node("li", "The promise is out of reach: the fleet is sized for the best that can be had."));
  if ($("wrong").textContent === items.map((item) => item.textContent).join("")) return; // told once
  $("wrong").replaceChildren(...items);
  $("wrong").hidden = !items.length;
}

function decided() {
  const { decision, start } = store.now;
  $("decided-at").textContent = decision ? `${moment(decision.at, start)}, ${decision.reason}` : "";
  $("headline").textContent = decision?.headline ?? "None yet.";
  $("sentences").replaceChildren(...(decision?.sentences ?? []).map((text) => node("li", text)));
}

function tables() {
  const { faults, fault_count: count, changes, start } = store.now;
  $("fault-count").textContent = count > faults.length ? `the last ${faults.length} of ${count}` : count ? `${count}, newest first` : "";
  rows("faults", [...faults].reverse().slice(0, 50).map((f) => [moment(f.begin, start), f.steps > 1 ? spanOf(f.end - f.begin) : "one look", f.text]));
  rows("changes", changes.map((c) => [moment(c.at, start), c.words, c.reason]));
}

function rows(id, lines) {
  const table = $(id);
  table.hidden = !lines.length;
  $(`no-${id}`).hidden = lines.length > 0;
  table.tBodies[0].replaceChildren(...lines.map((cells) => {
    const row = node("tr");
    row.append(...cells.map((text) => node("td", text, id === "changes" ? "text" : "")));
    return row;
  }));
}

// ---------------------------------------------------------------- time

const SPANS = [["15 min", 900], ["1 h", 3600], ["6 h", 21600], ["1 day", 86400]];

function spans() {
  const { at, start, bin_s: bin } = store.now;
  const offered = SPANS.filter(([, s]) => s < at - start && s >= 30 * bin);
  const choices = [...offered, ["all", null]];
  const shown = JSON.stringify([choices, view.span, view.zoom != null]);
  if (shown === view.spansShown) return;
  view.spansShown = shown;
  const buttons = choices.map(([text, seconds]) => {
    const button = node("button", text);
    button.type = "button";
    button.setAttribute("aria-pressed", String(view.zoom == null && view.span === seconds));
    button.addEventListener("click", () => { view.span = seconds; view.zoom = null; draw(); });
    return button;
  });
  $("spans").replaceChildren(...buttons);
}

// What the charts show, in milliseconds: a stretch up to now, and what the forecast says of the time after it.
function stretch() {
  if (view.zoom) return view.zoom;
  const { at, start, bin_s: bin } = store.now;
  const numbers = store.forecast.i ?? [];
  const ahead = numbers.length ? (numbers.at(-1) + 1) * bin : at;
  const from = view.span == null ? start : Math.max(start, at - view.span);
  const to = Math.max(at, Math.min(ahead, at + 0.15 * (at - from)));
  return [1000 * from, 1000 * Math.max(to, from + 60)];
}

// ---------------------------------------------------------------- charts

function draw() {
  if (typeof Plotly === "undefined" || store.now?.at == null) return;
  spans();
  legendOfMarks();
  const charts = chartsOf(store);
  for (const chart of charts) place(chart);
  const wanted = new Set(charts.map((chart) => chart.id));
  for (const [id, box] of view.nodes) if (!wanted.has(id)) { box.remove(); view.nodes.delete(id); }
  const span = stretch();
  for (const chart of charts) if (view.seen.has(chart.id)) drawOne(chart, span);
  view.stale = new Set(charts.filter((chart) => !view.seen.has(chart.id)).map((chart) => chart.id));
}

function drawOne(chart, span) {
  const plot = view.nodes.get(chart.id).querySelector(".plot");
  const { data, layout } = figure(chart, store, span, plot.clientWidth < 480);
  Plotly.react(plot, data, layout, CONFIG);
  if (!view.drawn.has(chart.id)) {
    view.drawn.set(chart.id, performance.now());
    plot.on("plotly_relayout", zoomed);
    plot.on("plotly_doubleclick", () => { view.zoom = null; draw(); });
    if (view.drawn.size === 1) performance.mark("first-chart");
  }
}

function zoomed(change) {
  const [from, to] = [change["xaxis.range[0]"], change["xaxis.range[1]"]];
  if (from == null) return;
  const ms = (text) => (typeof text === "number" ? text : Date.parse(`${text.replace(" ", "T")}Z`));
  view.zoom = [ms(from), ms(to)];
  draw();
}

// The chart's box with its heading and key; its plot is drawn when it comes into sight.
function place(chart) {
  let box = view.nodes.get(chart.id);
  if (!box) {
    box = node("section", "", "chart");
    const heading = node("h2");
    box.append(heading, node("div", "", "key"), node("div", "", "plot"));
    box.dataset.chart = chart.id;
    heading.append(node("span", chart.title), " ", node("span", chart.unit, "unit"));
    view.nodes.set(chart.id, box);
    $("charts").append(box);
    sight.observe(box);
  }
  const key = box.querySelector(".key");
  key.replaceChildren(...chart.key.filter(Boolean).map(keyEntry));
  const plot = box.querySelector(".plot");
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", `${chart.title}, ${chart.unit}: ${key.textContent}`);
}

const sight = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const id = target.dataset.chart;
    if (!isIntersecting) { view.seen.delete(id); continue; }
    view.seen.add(id);
    if (!view.drawn.has(id) || view.stale?.delete(id)) queueDraw();
  }
}, { rootMargin: "150px" });

let queued = 0;
function queueDraw() {
  queued ||= requestAnimationFrame(() => { queued = 0; draw(); });
}

function keyEntry([kind, color, text, value]) {
  const entry = node("span");
  if (kind) entry.append(swatch(kind, color));
  entry.append(`${text} `, node("b", value ?? ""));
  return entry;
}

function swatch(kind, color) {
  const SVG = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("viewBox", "0 0 18 9");
  picture.setAttribute("aria-hidden", "true");
  const shape = document.createElementNS(SVG, kind === "area" ? "rect" : "line");
  const size = kind === "area" ? { x: 0, y: 0, width: 18, height: 9, rx: 2, fill: color }
    : { x1: 0, y1: 4.5, x2: 18, y2: 4.5, stroke: color, "stroke-width": 2.5, "stroke-dasharray": { dot: "2 3", dash: "6 3" }[kind] ?? "none" };
  for (const [name, value] of Object.entries(size)) shape.setAttribute(name, value);
  picture.append(shape);
  return picture;
}

function legendOfMarks() {
  const kinds = [...new Set(store.now.faults.map((fault) => markOf(fault.kind)))];
  $("marks").hidden = !kinds.length;
  $("marks").replaceChildren(...kinds.map((kind) => {
    const entry = node("span");
    entry.append(node("span", "", `swatch ${kind}`), MARK_WORDS[kind]);
    return entry;
  }));
}

// ---------------------------------------------------------------- the loop

function show() {
  tellStatus();
  if (store.now.at == null) return;
  $("main").hidden = false;
  head();
  wrong();
  cards();
  decided();
  tables();
  if (!performance.getEntriesByName("figures").length) performance.mark("figures");
  draw();
}

async function refresh() {
  let pause = REFRESH_MS;
  try {
    const response = await fetch(`/data.json?since=${encodeURIComponent(store.cursor)}`, { cache: "no-store" });
    const answer = response.headers.get("content-type")?.startsWith("application/json") ? await response.json() : {};
    if (!response.ok) throw new Error(answer.problem ?? `the planner answered ${response.status}`);
    const before = store.cursor;
    store.take(answer);
    if (store.cursor !== before) show(); else tellStatus();
    if (answer.more) pause = 30;
  } catch (problem) {
    status(problem instanceof TypeError ? "connection lost, trying again" : problem.message, "gone");
  }
  setTimeout(document.hidden ? whenVisible : refresh, pause);
}

function whenVisible() {
  if (!document.hidden) refresh();
  else document.addEventListener("visibilitychange", refresh, { once: true });
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => store.now && show());
addEventListener("load", queueDraw); // plotly may come later than the first data
refresh();
