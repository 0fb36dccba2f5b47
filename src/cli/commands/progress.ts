/** One line on a terminal that says how far a long command is. Nothing at all where stderr is no terminal. */

const REDRAW_MS = 100;
const WIDTH = 24;

export interface Screen {
  readonly isTTY: boolean;
  write(text: string): void;
}

export class Progress {
  readonly #screen: Screen;
  readonly #isColored: boolean;
  readonly #total: number | null;
  readonly #startedMs = performance.now();
  #drawnMs = 0;

  /** `total`: of what `done` counts; null when nobody knows. Colours unless NO_COLOR is set to anything. */
  constructor(
    screen: Screen,
    environment: Readonly<Record<string, string | undefined>>,
    total: number | null,
  ) {
    this.#screen = screen;
    this.#isColored = (environment["NO_COLOR"] ?? "") === "";
    this.#total = total;
  }

  /** `done` of the total, and how many keys that is. */
  show(done: number, keys: number): void {
    if (!this.#screen.isTTY) return;
    const nowMs = performance.now();
    if (nowMs - this.#drawnMs < REDRAW_MS) return;
    this.#drawnMs = nowMs;
    this.#screen.write(`\r${this.line(done, keys, nowMs - this.#startedMs)}\u001b[K`);
  }

  line(done: number, keys: number, elapsedMs: number): string {
    const rate = elapsedMs > 0 ? Math.round((keys * 1000) / elapsedMs) : 0;
    const tail = `${keys} keys, ${rate}/s`;
    if (this.#total === null || this.#total === 0) return tail;
    const share = Math.min(1, done / this.#total);
    const filled = Math.round(share * WIDTH);
    const bar = "#".repeat(filled);
    const shown = this.#isColored ? `\u001b[32m${bar}\u001b[0m` : bar;
    return `[${shown}${".".repeat(WIDTH - filled)}] ${Math.floor(share * 100)}% ${tail}`;
  }

  /** Takes the line away, so that what is said next begins on a clean one. */
  end(): void {
    if (this.#screen.isTTY && this.#drawnMs > 0) this.#screen.write("\r\u001b[K");
  }
}
