/** Metrics as Prometheus reads them: the text format, version 0.0.4. */
import type { Histogram } from "./histogram.ts";

export type Labels = Readonly<Record<string, string>>;

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;

export class Exposition {
  #text = "";

  gauge(name: string, help: string, value: number): void {
    this.#head(name, help, "gauge");
    this.#line(name, {}, value);
  }

  counter(name: string, help: string, value: number): void {
    this.#head(name, help, "counter");
    this.#line(name, {}, value);
  }

  /** One metric, a line for each set of labels. */
  series(
    name: string,
    help: string,
    type: "gauge" | "counter",
    lines: Iterable<readonly [Labels, number]>,
  ): void {
    this.#head(name, help, type);
    for (const [labels, value] of lines) this.#line(name, labels, value);
  }

  histogram(name: string, help: string, lines: Iterable<readonly [Labels, Histogram]>): void {
    this.#head(name, help, "histogram");
    for (const [labels, histogram] of lines) {
      const counts = histogram.cumulative();
      for (const [i, bound] of histogram.bounds.entries())
        this.#line(`${name}_bucket`, { ...labels, le: String(bound) }, counts[i] as number);
      this.#line(`${name}_bucket`, { ...labels, le: "+Inf" }, histogram.count);
      this.#line(`${name}_sum`, labels, histogram.sum);
      this.#line(`${name}_count`, labels, histogram.count);
    }
  }

  toString(): string {
    return this.#text;
  }

  #head(name: string, help: string, type: string): void {
    if (!NAME.test(name)) throw new Error(`${name} is no name of a metric`);
    const text = help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
    this.#text += `# HELP ${name} ${text}\n# TYPE ${name} ${type}\n`;
  }

  #line(name: string, labels: Labels, value: number): void {
    const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
    const set = pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
    this.#text += `${name}${set} ${Number.isFinite(value) ? value : "NaN"}\n`;
  }
}

function escaped(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
