/** A line of points over the categories of the horizontal axis. A value is undefined where there is no point. */
export interface Series {
  readonly name: string;
  /** A class of {@link STYLE}. */
  readonly look: "first" | "second" | "third";
  readonly values: readonly (number | undefined)[];
  /** Returns the label of a point. By default, points have no labels. */
  readonly label?: (value: number) => string;
  /** The distance of labels from their points, so that a steep line does not cross them. */
  readonly aside?: number;
  /** Whether labels are below the points, so that the labels of two lines do not overlap. */
  readonly below?: boolean;
}

/** One panel of a picture: a title, a vertical scale, lines, and limits to compare the lines with. */
export interface Panel {
  readonly title: string;
  readonly scale: "linear" | "log";
  readonly range: readonly [number, number];
  readonly ticks: readonly { readonly at: number; readonly label: string }[];
  readonly limits: readonly { readonly at: number; readonly label: string }[];
  readonly series: readonly Series[];
}

/** A picture of panels that share their categories. */
export interface Chart {
  /** The alternative text of the picture. */
  readonly says: string;
  readonly categories: readonly string[];
  readonly axis: string;
  readonly panels: readonly Panel[];
  /** The number of panels in a row. By default, all of them are in one row. */
  readonly columns?: number;
}

const WIDTH = 440;
const HEIGHT = 340;
const LEFT = 56;
const RIGHT = 20;
const TOP = 74;
const BOTTOM = 56;

const STYLE = `
    .paper { fill: #ffffff } .t { fill: #1f2933; font-weight: 600 } .s { fill: #52606d; font-size: 12px }
    .grid { stroke: #e1e7ec } .limit { stroke: #b42318; stroke-dasharray: 5 4 } .l { fill: #b42318; font-size: 11px }
    .first { stroke: #1d6fb8; fill: #1d6fb8 } .second { stroke: #b3590b; fill: #b3590b } .third { stroke: #6b3fa0; fill: #6b3fa0 }
    .line { fill: none; stroke-width: 2 } .v { stroke: none; font-size: 11px }
    @media (prefers-color-scheme: dark) {
      .paper { fill: #14191f } .t { fill: #e6edf3 } .s { fill: #a3b1bf } .grid { stroke: #2b343d }
      .limit { stroke: #ff8f85 } .l { fill: #ff8f85 }
      .first { stroke: #6cb6ff; fill: #6cb6ff } .second { stroke: #ffb067; fill: #ffb067 } .third { stroke: #c9a3ff; fill: #c9a3ff }
      .line { fill: none } .v { stroke: none }
    }`;

/** Returns the picture as SVG. It has its own background, so that it is readable on light and dark pages. */
export function drawChart(chart: Chart): string {
  const columns = chart.columns ?? chart.panels.length;
  const width = WIDTH * columns;
  const height = HEIGHT * Math.ceil(chart.panels.length / columns);
  const panels = chart.panels.map((panel, at) => {
    const [x, y] = [(at % columns) * WIDTH, Math.floor(at / columns) * HEIGHT];
    return `<g transform="translate(${x} ${y})">\n${drawPanel(panel, chart)}\n</g>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, 'DejaVu Sans', sans-serif" font-size="14" role="img" aria-label="${escaped(chart.says)}">
  <style>${STYLE}
  </style>
  <rect class="paper" width="${width}" height="${height}"/>
${panels.join("\n")}
</svg>
`;
}

function drawPanel(panel: Panel, { categories, axis }: Chart): string {
  const x = (at: number): number => LEFT + 18 + (at * (WIDTH - LEFT - RIGHT - 36)) / (categories.length - 1);
  const y = (value: number): number => {
    const [low, high] = panel.range.map((end) => (panel.scale === "log" ? Math.log(end) : end));
    const is = panel.scale === "log" ? Math.log(value) : value;
    const part = (is - (low ?? 0)) / ((high ?? 1) - (low ?? 0));
    return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM);
  };
  const across = (value: number, look: string): string =>
    `<path class="${look}" d="M${LEFT} ${round(y(value))}H${WIDTH - RIGHT}"/>`;
  const parts = [`<text class="t" x="${LEFT}" y="26">${escaped(panel.title)}</text>`];
  for (const { at, label } of panel.ticks) {
    parts.push(across(at, "grid"), text("s", LEFT - 8, y(at) + 4, label, "end"));
  }
  for (const { at, label } of panel.limits) {
    parts.push(across(at, "limit"), text("l", WIDTH - RIGHT, y(at) - 5, label, "end"));
  }
  for (const [at, category] of categories.entries()) {
    parts.push(text("s", x(at), HEIGHT - BOTTOM + 20, category, "middle"));
  }
  parts.push(text("s", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, axis, "middle"));
  let legendAt = LEFT;
  for (const series of panel.series) {
    parts.push(drawSeries(series, x, y));
    if (panel.series.length > 1) {
      parts.push(`<circle class="${series.look}" cx="${legendAt + 4}" cy="46" r="4"/>`);
      parts.push(text("s", legendAt + 13, 50, series.name, "start"));
      legendAt += 32 + series.name.length * 6.3;
    }
  }
  return parts.join("\n");
}

function drawSeries(series: Series, x: (at: number) => number, y: (value: number) => number): string {
  const points = series.values.flatMap((value, at) =>
    value === undefined ? [] : [{ at: round(x(at)), value, height: round(y(value)) }],
  );
  const path = points.map(({ at, height }, is) => `${is === 0 ? "M" : "L"}${at} ${height}`).join("");
  const shift = series.below === true ? 17 : -9;
  return [
    `<path class="line ${series.look}" d="${path}"/>`,
    ...points.map(
      ({ at, height }) =>
        `<circle class="${series.look}" cx="${at}" cy="${height}" r="${series.label === undefined ? 2.5 : 4}"/>`,
    ),
    ...points.map(({ at, value, height }) => {
      const label = series.label?.(value);
      if (label === undefined) return "";
      return text(`${series.look} v`, at + (series.aside ?? 0), height + shift, label, "middle");
    }),
  ].join("\n");
}

function text(look: string, x: number, y: number, content: string, anchor: string): string {
  return `<text class="${look}" x="${round(x)}" y="${round(y)}" text-anchor="${anchor}">${escaped(content)}</text>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
