import { describe, expect, it } from "vitest";
import { PageItems, type Pages } from "./page-items.ts";

/** Pages of numbers that note when they are let go, each of which comes a turn later. */
function numbers(...pages: readonly (readonly number[] | Error)[]): {
  readonly begin: () => Pages<number>;
  readonly notes: string[];
} {
  const notes: string[] = [];
  async function* begin(): Pages<number> {
    notes.push("begun");
    try {
      for (const page of pages) {
        await new Promise<void>((resolve) => setImmediate(resolve));
        if (page instanceof Error) throw page;
        yield page;
      }
    } finally {
      notes.push("let go");
    }
  }
  return { begin, notes };
}

const shown = (item: number): string => `${item}`;

describe("items that come page by page", () => {
  it("are given one by one, empty pages aside, and the pages are let go at the end", async () => {
    const { begin, notes } = numbers([1, 2], [], [3]);
    const items = new PageItems(begin, shown);
    expect(notes).toEqual([]);
    const found: string[] = [];
    for await (const item of items) found.push(item);
    expect(found).toEqual(["1", "2", "3"]);
    expect(notes).toEqual(["begun", "let go"]);
    expect(await items.next()).toEqual({ done: true, value: undefined });
    expect(notes).toEqual(["begun", "let go"]);
  });

  it("are given in the order in which they were asked for, however many at once", async () => {
    const { begin } = numbers([1, 2, 3], [4]);
    const items = new PageItems(begin, shown);
    const steps = Array.from({ length: 6 }, async () => items.next());
    expect((await Promise.all(steps)).map(({ value }) => value)).toEqual([
      "1",
      "2",
      "3",
      "4",
      undefined,
      undefined,
    ]);
  });

  it("that are at hand are answered before whatever was asked for later", async () => {
    const { begin } = numbers([1, 2], [3]);
    const items = new PageItems(begin, shown);
    await items.next();
    const answers: string[] = [];
    const note = (step: IteratorResult<string, void>): void =>
      void answers.push(step.done === true ? "over" : step.value);
    await Promise.all([
      items.next().then(note),
      items.next().then(note),
      items.return().then(note),
    ]);
    expect(answers).toEqual(["2", "3", "over"]);
  });

  it("end when the loop is left, and what they held is let go before it goes on", async () => {
    const { begin, notes } = numbers([1, 2], [3]);
    const items = new PageItems(begin, shown);
    for await (const item of items) {
      expect(item).toBe("1");
      break;
    }
    expect(notes).toEqual(["begun", "let go"]);
    expect(await items.next()).toEqual({ done: true, value: undefined });
  });

  it("that are left before the first step begin nothing", async () => {
    const { begin, notes } = numbers([1]);
    const items = new PageItems(begin, shown);
    expect(await items.return()).toEqual({ done: true, value: undefined });
    expect(await items.next()).toEqual({ done: true, value: undefined });
    expect(notes).toEqual([]);
  });

  it("end with what a page, or its beginning, throws", async () => {
    const { begin, notes } = numbers([1], new Error("no more"));
    const items = new PageItems(begin, shown);
    expect((await items.next()).value).toBe("1");
    await expect(items.next()).rejects.toThrow("no more");
    expect(await items.next()).toEqual({ done: true, value: undefined });
    expect(notes).toEqual(["begun", "let go"]);

    const never = new PageItems(() => {
      throw new Error("a wrong range");
    }, shown);
    await expect(never.next()).rejects.toThrow("a wrong range");
    expect(await never.next()).toEqual({ done: true, value: undefined });
  });

  it("end with what showing them throws, the first of a page or a later one", async () => {
    for (const wrong of [1, 2]) {
      const { begin, notes } = numbers([1, 2, 3]);
      const items = new PageItems(begin, (item) => {
        if (item === wrong) throw new Error(`${item} cannot be shown`);
        return item;
      });
      for (let item = 1; item < wrong; item++) await items.next();
      await expect(items.next()).rejects.toThrow(`${wrong} cannot be shown`);
      expect(await items.next()).toEqual({ done: true, value: undefined });
      expect(notes).toEqual(["begun", "let go"]);
    }
  });

  it("end with an error that is thrown into them", async () => {
    const { begin, notes } = numbers([1, 2]);
    const items = new PageItems(begin, shown);
    await items.next();
    await expect(items.throw(new Error("enough"))).rejects.toThrow("enough");
    expect(await items.next()).toEqual({ done: true, value: undefined });
    expect(notes).toEqual(["begun", "let go"]);
  });

  it("end with the block that uses them", async () => {
    const { begin, notes } = numbers([1, 2]);
    {
      await using items = new PageItems(begin, shown);
      await items.next();
    }
    expect(notes).toEqual(["begun", "let go"]);
  });
});
