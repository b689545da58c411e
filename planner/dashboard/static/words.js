// Numbers and times for people. Unknown is a dash, never a zero.

export const UNKNOWN = "–";
const GAP = "\u00a0"; // a number and its unit stay on one line

export function number(value, digits = 3) {
  if (value == null) return UNKNOWN;
  const size = Math.abs(value);
  return size >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(digits)));
}

export function duration(seconds) {
  if (seconds == null) return UNKNOWN;
  if (seconds < 10) return `${number(seconds * 1000)}${GAP}ms`;
  return `${number(seconds)}${GAP}s`;
}

export function span(seconds) {
  if (seconds < 90) return `${Math.round(seconds)}${GAP}s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)}${GAP}min`;
  if (seconds < 172800) return `${number(seconds / 3600)}${GAP}h`;
  return `${number(seconds / 86400)}${GAP}days`;
}

export function percent(share) {
  if (share == null) return UNKNOWN;
  if (share >= 1) return `${number(100 * share)}${GAP}%`;
  const digits = share > 0.9 ? 2 : 1;
  const shown = Math.min(100 * share, 100 - 10 ** -digits); // nearly all is not all
  return `${Number(shown.toFixed(digits))}${GAP}%`;
}

export function range(low, high, write) {
  const [a, b] = [write(low), write(high)];
  if (a === b) return a;
  const unit = GAP + b.split(GAP)[1];
  return `${a.endsWith(unit) ? a.slice(0, -unit.length) : a} to ${b}`;
}

// A clock that starts near zero is a simulation's: its dates would say nothing.
export const isReal = (at) => at > 1e9;

export function moment(at, start) {
  if (at == null) return UNKNOWN;
  const text = new Date(at * 1000).toISOString();
  const time = text.slice(11, 19);
  const days = (t) => Math.floor(t / 86400);
  if (isReal(at)) return days(at) === days(Date.now() / 1000) ? time : `${text.slice(0, 10)} ${time}`;
  return days(start) === days(at) && days(at) === 0 ? time : `day ${days(at) + 1} ${time}`;
}

// Plotly reads a little HTML in its texts; names from a log are only text.
export const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
