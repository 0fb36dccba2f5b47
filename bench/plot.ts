/** Panels of lines on logarithmic axes as SVG text: each power of ten is as wide as the next, so a cost that grows with
 * the work is a straight line. */

export interface Panel {
  readonly title: string;
  readonly lines: readonly {
    readonly name: string;
    readonly points: readonly { readonly x: number; readonly y: number }[];
  }[];
}

const WIDTH = 460;
const HEIGHT = 380;
const LEFT = 60;
const RIGHT = 20;
const TOP = 40;
const BOTTOM = 50;
const LEGEND_LINE = 18;
const COLORS = ["#1b6ca8", "#c8553d", "#2e7d32", "#7b3fa0"] as const;

interface Axis {
  readonly from: number;
  readonly to: number;
}

/** Whole powers of ten around all values. */
function axisOf(values: readonly number[]): Axis {
  const from = Math.floor(Math.log10(Math.min(...values)));
  const to = Math.ceil(Math.log10(Math.max(...values)));
  return { from, to: Math.max(to, from + 1) };
}

function decades({ from, to }: Axis): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

function powerText(exponent: number): string {
  if (exponent >= 6) return `${10 ** (exponent - 6)}M`;
  if (exponent >= 3) return `${10 ** (exponent - 3)}k`;
  return String(Number((10 ** exponent).toPrecision(1)));
}

function panelText(panel: Panel, offset: number): string {
  const all = panel.lines.flatMap(({ points }) => points);
  const xs = axisOf(all.map(({ x }) => x));
  const ys = axisOf(all.map(({ y }) => y));
  const legend = panel.lines.length * LEGEND_LINE;
  const top = TOP + legend;
  const across = WIDTH - LEFT - RIGHT;
  const down = HEIGHT - TOP - BOTTOM;
  const x = (value: number): number =>
    offset + LEFT + ((value - xs.from) / (xs.to - xs.from)) * across;
  const y = (value: number): number => top + down - ((value - ys.from) / (ys.to - ys.from)) * down;
  const parts: string[] = [
    `<text x="${offset + LEFT}" y="24" font-size="15" font-weight="bold">${panel.title}</text>`,
  ];
  for (const at of decades(xs)) {
    parts.push(
      `<line x1="${x(at)}" y1="${top}" x2="${x(at)}" y2="${top + down}" stroke="#ddd"/>`,
      `<text x="${x(at)}" y="${top + down + 18}" text-anchor="middle">${powerText(at)}</text>`,
    );
  }
  for (const at of decades(ys)) {
    parts.push(
      `<line x1="${x(xs.from)}" y1="${y(at)}" x2="${x(xs.to)}" y2="${y(at)}" stroke="#ddd"/>`,
      `<text x="${x(xs.from) - 8}" y="${y(at) + 4}" text-anchor="end">${powerText(at)}</text>`,
    );
  }
  parts.push(
    `<text x="${x((xs.from + xs.to) / 2)}" y="${top + down + 38}" text-anchor="middle">keys</text>`,
  );
  for (const [i, { name, points }] of panel.lines.entries()) {
    const color = COLORS[i % COLORS.length];
    const place = points.map((point) => ({ x: x(Math.log10(point.x)), y: y(Math.log10(point.y)) }));
    const path = place.map((at) => `${at.x.toFixed(1)},${at.y.toFixed(1)}`).join(" ");
    const row = TOP + i * LEGEND_LINE;
    parts.push(
      `<polyline points="${path}" fill="none" stroke="${color}" stroke-width="2"/>`,
      ...place.map(
        (at) => `<circle cx="${at.x.toFixed(1)}" cy="${at.y.toFixed(1)}" r="3.5" fill="${color}"/>`,
      ),
      `<line x1="${offset + LEFT}" y1="${row - 4}" x2="${offset + LEFT + 22}" y2="${row - 4}" stroke="${color}" stroke-width="2"/>`,
      `<text x="${offset + LEFT + 28}" y="${row}">${name}</text>`,
    );
  }
  return parts.join("\n");
}

export function plot(panels: readonly Panel[]): string {
  const legend = Math.max(...panels.map(({ lines }) => lines.length)) * LEGEND_LINE;
  const size = { width: WIDTH * panels.length, height: HEIGHT + legend };
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${size.width}" height="${size.height}" viewBox="0 0 ${size.width} ${size.height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${size.width}" height="${size.height}" fill="white"/>`,
    ...panels.map((panel, i) => panelText(panel, i * WIDTH)),
    "</svg>\n",
  ].join("\n");
}
