// What the page knows: columns by bin, to which the server adds what changed since the last time.

export class Store {
  constructor() { this.forget(); }

  forget() {
    this.cursor = "";
    this.now = null; // the last answer, without columns
    this.measured = {};
    this.forecast = {};
    this.pools = {};
  }

  // Take in an answer of /data.json.
  take(answer) {
    const { measured, forecast, pools, ...now } = answer;
    if (now.whole) this.forget();
    merge(this.measured, measured);
    merge(this.forecast, forecast);
    for (const [name, columns] of Object.entries(pools)) merge((this.pools[name] ??= {}), columns);
    this.cursor = now.cursor;
    this.now = now;
  }

  // Times of the bins of `columns` in milliseconds; `place` 0 is a bin's begin, 0.5 its middle.
  times(columns, place = 0) {
    const width = this.now.bin_s * 1000;
    return (columns.i ?? []).map((i) => (i + place) * width);
  }
}

// Columns are in order of `i`, and so is what is added: bins that changed, then new ones.
function merge(columns, added) {
  const numbers = (columns.i ??= []);
  const names = Object.keys(added);
  for (const name of names) columns[name] ??= [];
  added.i.forEach((number, row) => {
    let place = numbers.length;
    while (place > 0 && numbers[place - 1] >= number) place -= 1;
    const known = numbers[place] === number ? 1 : 0;
    for (const name of names) columns[name].splice(place, known, added[name][row]);
  });
}

// The usual distance between neighbours; the log may be sparser than its bins.
export function usual(times) {
  const gaps = times.slice(1).map((t, k) => t - times[k]).sort((a, b) => a - b);
  return gaps.length ? gaps[gaps.length >> 1] : 0;
}

// The same columns with a hole wherever nothing was looked at for a while, so that no line is drawn across it.
export function withHoles(times, ...columns) {
  const limit = 3.5 * usual(times);
  const out = [[], ...columns.map(() => [])];
  times.forEach((t, row) => {
    if (row > 0 && t - times[row - 1] > limit) {
      out[0].push(times[row - 1] + 1);
      for (let c = 1; c < out.length; c++) out[c].push(null);
    }
    out[0].push(t);
    columns.forEach((column, c) => out[c + 1].push(column[row]));
  });
  return out;
}

export const running = (column) => {
  let sum = 0;
  return (column ?? []).map((value) => (sum += value ?? 0));
};

export const last = (column) => {
  for (let k = (column?.length ?? 0) - 1; k >= 0; k--) if (column[k] != null) return column[k];
  return null;
};
