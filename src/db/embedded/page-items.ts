/** What comes page by page, given one by one. */

/** As a generator gives them, page by page. */
export type Pages<P> = AsyncGenerator<readonly P[], void, undefined>;

/**
 * An async generator that does what `for await (const page of pages) for (const item of page) yield show(item)` does. What is
 * at hand is answered by a promise that is fulfilled already, where a generator of the language sends every item through
 * three turns of the microtask queue: about a fifth of what an entry of a scan costs.
 *
 * Invariants: steps are answered in the order in which they were asked for; once it is over, by its end, by an error or by
 * `return`, the pages have come to their end, too, and with them whatever they held.
 */
export class PageItems<P, T> implements AsyncGenerator<T, void, undefined> {
  readonly #begin: () => Pages<P>;
  readonly #show: (item: P) => T;
  /** Null before the first step and after the last. */
  #pages: Pages<P> | null = null;
  #page: readonly P[] = [];
  #at = 0;
  #isOver = false;
  /** When the steps that were asked for are answered; null: they are. */
  #answered: Promise<void> | null = null;

  /** Both may throw; then the step that they were called for rejects, and it is over. */
  constructor(begin: () => Pages<P>, show: (item: P) => T) {
    this.#begin = begin;
    this.#show = show;
  }

  next(): Promise<IteratorResult<T, void>> {
    if (this.#answered !== null || this.#at === this.#page.length)
      return this.#inTurn(() => this.#step());
    const item = this.#page[this.#at++] as P;
    try {
      return Promise.resolve({ done: false, value: this.#show(item) });
    } catch (thrown) {
      return this.#inTurn(() => this.#end(thrown));
    }
  }

  return(): Promise<IteratorResult<T, void>> {
    return this.#inTurn(() => this.#end());
  }

  throw(error: unknown): Promise<IteratorResult<T, void>> {
    return this.#inTurn(() => this.#end(error));
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  #inTurn<R>(act: () => Promise<R>): Promise<R> {
    const step = this.#answered === null ? act() : this.#answered.then(act);
    const settled = (): void => {
      if (this.#answered === answered) this.#answered = null;
    };
    // Before anybody who awaits the step hears of it: who asks again then finds nothing under way.
    const answered = step.then(settled, settled);
    this.#answered = answered;
    return step;
  }

  async #step(): Promise<IteratorResult<T, void>> {
    try {
      while (this.#at === this.#page.length) {
        if (this.#isOver) return { done: true, value: undefined };
        this.#pages ??= this.#begin();
        const { done, value } = await this.#pages.next();
        if (done === true) return await this.#end();
        this.#page = value;
        this.#at = 0;
      }
      return { done: false, value: this.#show(this.#page[this.#at++] as P) };
    } catch (thrown) {
      return await this.#end(thrown);
    }
  }

  /** Rejects with `thrown`, if there is something. */
  async #end(...thrown: readonly [] | readonly [unknown]): Promise<IteratorResult<T, void>> {
    const pages = this.#pages;
    this.#isOver = true;
    this.#pages = null;
    this.#page = [];
    this.#at = 0;
    await pages?.return();
    if (thrown.length === 1) throw thrown[0];
    return { done: true, value: undefined };
  }
}
