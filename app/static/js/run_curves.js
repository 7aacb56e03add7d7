// <run-curves>: a run's figures as live curves. Asks for the steps after the last one it has, until the run is over.
import uPlot from "../vendor/uPlot.esm.js";

const ASK_AGAIN = 2000; // ms
const COLOURS = ["--accent", "--warn", "--good", "--bad", "--ink-soft"];
const DASHES = [[], [5, 4], [], [2, 3], [6, 3]];
const LOOKED_AT_FIRST = new Set(["Reward", "Accuracy", "KL from the start, nats", "Loss", "Change of log-probability, nats", "Completion length, tokens", "Ended by itself, share"]);
const OVER = new Set(["succeeded", "failed", "cancelled"]);

// A series of few values (one an epoch) is drawn with its points, or a single one could not be seen.
const hasFewValues = (plot, index) => plot.data[index].reduce((count, value) => count + (value !== null), 0) <= 40;

// A canvas knows no custom properties and no light-dark(): the browser resolves them on a real element.
const colour = (name, of) => {
  const probe = of.appendChild(document.createElement("i"));
  probe.style.color = `var(${name})`;
  const resolved = getComputedStyle(probe).color;
  probe.remove();
  return resolved;
};

const short = (value) => {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(1) : String(Number(value.toPrecision(3)));
};

class RunCurves extends HTMLElement {
  connectedCallback() {
    this.steps = [];
    this.values = new Map(); // metric → its value at each of the steps
    this.groups = new Map(); // title → Map(key → label)
    this.plots = new Map();
    this.resized = new ResizeObserver(() => this.fit());
    this.resized.observe(this);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.redraw = () => { this.clear(); this.draw(); };
    this.scheme.addEventListener("change", this.redraw);
    this.ask();
  }

  disconnectedCallback() {
    clearTimeout(this.timer);
    this.resized.disconnect();
    this.scheme.removeEventListener("change", this.redraw);
    this.clear();
  }

  async ask() {
    let over = false;
    try {
      const last = this.steps.length ? this.steps[this.steps.length - 1] : 0;
      const answer = await fetch(`${this.dataset.metrics}?after=${last}`, { headers: { accept: "application/json" } });
      if (answer.ok) {
        const metrics = await answer.json();
        this.take(metrics);
        if (metrics.rows.length === 2000) { this.ask(); return; }
        over = OVER.has(metrics.state);
      } else {
        over = answer.status === 401 || answer.status === 404;
      }
    } catch { /* the server is away: ask again later */ }
    if (!over && this.isConnected) this.timer = setTimeout(() => this.ask(), ASK_AGAIN);
  }

  take(metrics) {
    if (!metrics.rows.length) return;
    for (const group of metrics.groups) {
      const series = this.groups.get(group.title) ?? new Map();
      for (const { key, label } of group.series) series.set(key, label);
      this.groups.set(group.title, series);
    }
    const keys = new Set([...this.groups.values()].flatMap((series) => [...series.keys()]));
    for (const key of keys) if (!this.values.has(key)) this.values.set(key, this.steps.map(() => null));
    for (const row of metrics.rows) {
      this.steps.push(row.step);
      for (const key of keys) this.values.get(key).push(row.values[key] ?? null);
    }
    this.draw();
  }

  draw() {
    if (!this.steps.length) return;
    this.prepare();
    if (this.groups.has("Reward") && this.values.has("kl")) this.drawFrontier();
    for (const [title, series] of this.groups) this.drawGroup(title, series);
  }

  prepare() {
    if (this.querySelector(".plots")) return;
    this.replaceChildren();
    this.wide = this.appendChild(document.createElement("div"));
    this.wide.className = "stack";
    this.small = this.appendChild(document.createElement("div"));
    this.small.className = "plots";
    this.folded = this.appendChild(document.createElement("details"));
    this.folded.className = "more";
    this.folded.appendChild(document.createElement("summary")).textContent = "More curves";
    this.rest = this.folded.appendChild(document.createElement("div"));
    this.rest.className = "plots";
    this.folded.hidden = true;
    this.folded.addEventListener("toggle", () => this.fit());
  }

  // Over-optimisation (Gao et al. 2023): against √KL the trained reward rises on, the watching one turns down.
  drawFrontier() {
    const kl = this.values.get("kl");
    const order = [...this.steps.keys()].filter((i) => kl[i] !== null).sort((a, b) => kl[a] - kl[b]);
    const series = new Map([["reward", "reward model it is trained on"]]);
    if (this.values.has("reward_watch")) series.set("reward_watch", "watching reward model");
    const distance = order.map((i) => Math.sqrt(Math.max(0, kl[i]))); // an estimate of a KL near 0 may lie below it
    const data = [distance, ...[...series.keys()].map((key) => order.map((i) => this.values.get(key)[i]))];
    this.show("Reward against √KL", "each point one step", series, data, { into: this.wide, points: true, x: "√KL", height: 260 });
  }

  drawGroup(title, series) {
    const data = [this.steps, ...[...series.keys()].map((key) => this.values.get(key))];
    const isFirst = LOOKED_AT_FIRST.has(title);
    this.folded.hidden &&= isFirst;
    this.show(title, "", series, data, { into: isFirst ? this.small : this.rest, points: false, x: "step", height: 190 });
  }

  show(title, aside, series, data, { into, points, x, height }) {
    const known = this.plots.get(title);
    if (known && known.series === series.size) { known.plot.setData(data); return; }
    if (known) { known.plot.destroy(); known.sheet.remove(); }
    const sheet = this.frame(title, aside, into, [...series.values()]);
    const body = sheet.querySelector(".body");
    const plot = new uPlot(this.options(series, { points, x, width: this.width(body), height }), data, body);
    this.plots.set(title, { plot, sheet, body, series: series.size });
  }

  frame(title, aside, into, labels) {
    const sheet = document.createElement("div");
    sheet.className = "sheet curve";
    const header = sheet.appendChild(document.createElement("header"));
    header.appendChild(document.createElement("h2")).textContent = title;
    header.appendChild(document.createElement("span")).className = "spring";
    Object.assign(header.appendChild(document.createElement("span")), { className: "soft", textContent: aside });
    const body = sheet.appendChild(document.createElement("div"));
    body.className = "body";
    body.setAttribute("role", "img");
    body.setAttribute("aria-label", `${title}: ${labels.join(", ")}. The figures stand in the table below.`);
    into.appendChild(sheet);
    return sheet;
  }

  options(series, { points, x, width, height }) {
    const line = colour("--line", this);
    const ink = colour("--ink-soft", this);
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "11px system-ui, sans-serif" };
    return {
      width, height,
      scales: { x: { time: false } },
      cursor: { points: { size: 7 } },
      legend: { live: true },
      axes: [{ ...axis, values: (_, marks) => marks.map(short) }, { ...axis, size: 52, values: (_, marks) => marks.map(short) }],
      series: [{ label: x, value: (_, value) => short(value) }, ...[...series.values()].map((label, i) => ({
        label,
        stroke: colour(COLOURS[i % COLOURS.length], this),
        width: points ? 0 : 2,
        dash: DASHES[i % DASHES.length],
        spanGaps: true,
        points: points ? { show: true, size: 5, fill: colour(COLOURS[i % COLOURS.length], this) } : { show: hasFewValues, size: 5 },
        paths: points ? () => null : undefined,
        value: (_, value) => short(value),
      }))],
    };
  }

  width(body) {
    const style = getComputedStyle(body);
    return Math.max(200, body.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight));
  }

  fit() {
    for (const { plot, body } of this.plots.values()) {
      if (!body.clientWidth) continue; // folded away
      const width = this.width(body);
      if (Math.abs(width - plot.width) > 1) plot.setSize({ width, height: plot.height });
    }
  }

  clear() {
    for (const { plot, sheet } of this.plots.values()) { plot.destroy(); sheet.remove(); }
    this.plots.clear();
  }
}

customElements.define("run-curves", RunCurves);
