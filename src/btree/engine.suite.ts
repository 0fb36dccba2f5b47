/**
 * What every engine does, registered for each implementation: `MemoryEngine` shows that the suite is right,
 * `BTreeEngine` that it keeps to it.
 */
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { compareBytes, crc32c, equalBytes, hex, Random, utf8 } from "../base/index.ts";
import type { Io } from "../env/index.ts";
import { type Cursor, type Engine, KEY_SIZE_MAX, type ReadTree, TREE_SLOTS } from "./index.ts";

/** An engine for one test and the means to drive it. */
export interface EngineUnderTest {
  readonly engine: Engine;
  readonly run: <T>(io: Io<T>) => T;
}

const NOTHING: Uint8Array = new Uint8Array(0);

/** `size` bytes that differ with `seed` and are not zero. */
export function filled(size: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = 1 + ((seed * 31 + i * 7 + (i >>> 8)) % 255);
  return bytes;
}

/** Everything in a tree, as text that a failed comparison shows well. */
export function contents(tree: ReadTree): [string, string][] {
  const all: [string, string][] = [];
  const cursor = tree.cursor();
  for (let ok = cursor.first(); ok; ok = cursor.next()) {
    all.push([hex(cursor.key), digest(cursor.value)]);
  }
  return all;
}

/** Short values as they are, long ones by length and a few bytes. */
function digest(value: Uint8Array): string {
  if (value.length <= 64) return hex(value);
  let sum = 0;
  for (const byte of value) sum = (Math.imul(sum, 31) + byte) >>> 0;
  return `${value.length} bytes, sum ${sum}`;
}

/** Compares without `toEqual`, which takes seconds for megabytes. */
function expectValue(tree: ReadTree, key: Uint8Array, expected: Uint8Array): void {
  const value = tree.get(key) as Uint8Array;
  expect(value.length).toBe(expected.length);
  expect(equalBytes(value, expected)).toBe(true);
}

/** A number for everything in a tree: for tests that compare thousands of trees. */
export function fingerprint(entries: Iterable<readonly [Uint8Array, Uint8Array]>): string {
  let crc = 0;
  let count = 0;
  for (const [key, value] of entries) {
    crc = crc32c(new Uint8Array([key.length, key.length >>> 8, value.length]), 0, 3, crc);
    crc = crc32c(value, 0, value.length, crc32c(key, 0, key.length, crc));
    count++;
  }
  return `${count} keys ${crc}`;
}

/** The keys and values of a tree, in order. */
export function* entriesOf(tree: ReadTree): Generator<[Uint8Array, Uint8Array]> {
  const cursor = tree.cursor();
  for (let ok = cursor.first(); ok; ok = cursor.next()) yield [cursor.key, cursor.value];
}

/** A sorted model that shares nothing with the engines. */
export class Model {
  readonly #entries = new Map<string, { key: Uint8Array; value: Uint8Array }>();

  put(key: Uint8Array, value: Uint8Array): boolean {
    const name = hex(key);
    const isNew = !this.#entries.has(name);
    this.#entries.set(name, { key, value });
    return isNew;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#entries.get(hex(key))?.value;
  }

  delete(key: Uint8Array): boolean {
    return this.#entries.delete(hex(key));
  }

  deleteRange(from: Uint8Array, to: Uint8Array | undefined): number {
    let deleted = 0;
    for (const key of this.keys()) {
      const isIn = compareBytes(key, from) >= 0 && (to === undefined || compareBytes(key, to) < 0);
      if (isIn && this.delete(key)) deleted++;
    }
    return deleted;
  }

  /** Keys in order: hexadecimal text sorts as its bytes do. */
  keys(): Uint8Array[] {
    return [...this.#entries.values()].map(({ key }) => key).toSorted(compareBytes);
  }

  fingerprint(): string {
    const sorted = [...this.#entries.values()].toSorted((a, b) => compareBytes(a.key, b.key));
    return fingerprint(sorted.map(({ key, value }) => [key, value] as const));
  }

  contents(): [string, string][] {
    return [...this.#entries.entries()]
      .toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      .map(([name, { value }]) => [name, digest(value)]);
  }
}

function descending(cursor: Cursor): string[] {
  const keys: string[] = [];
  for (let ok = cursor.last(); ok; ok = cursor.previous()) keys.push(hex(cursor.key));
  return keys;
}

/** Registers the suite. `open` makes a new, empty engine. */
export function engineSuite(name: string, open: () => EngineUnderTest): void {
  describe(name, () => {
    let engine: Engine;
    let under: EngineUnderTest;
    beforeEach(() => {
      under = open();
      engine = under.engine;
    });

    it("an empty tree has nothing in it", () => {
      const tree = engine.tree(0);
      expect(tree.count).toBe(0);
      expect(tree.get(utf8("a"))).toBeUndefined();
      expect(tree.delete(utf8("a"))).toBe(false);
      expect(tree.countRange(NOTHING, undefined)).toBe(0);
      const cursor = tree.cursor();
      expect(cursor.valid).toBe(false);
      expect([cursor.first(), cursor.last(), cursor.next(), cursor.previous()]).toEqual([
        false,
        false,
        false,
        false,
      ]);
      expect([cursor.seek(utf8("a")), cursor.seekBefore(utf8("a"))]).toEqual([false, false]);
      expect(() => cursor.key).toThrow("only a valid cursor");
      expect(() => cursor.value).toThrow("only a valid cursor");
    });

    it("one key is put, replaced and deleted", () => {
      const tree = engine.tree(0);
      expect(tree.put(utf8("k"), utf8("one"))).toBe(true);
      expect(tree.put(utf8("k"), utf8("two"))).toBe(false);
      expect(tree.get(utf8("k"))).toEqual(utf8("two"));
      expect(tree.count).toBe(1);
      expect(tree.delete(utf8("k"))).toBe(true);
      expect(tree.delete(utf8("k"))).toBe(false);
      expect(tree.get(utf8("k"))).toBeUndefined();
      expect(tree.count).toBe(0);
      engine.invariants();
    });

    it("copies what it is given", () => {
      const key = utf8("key");
      const value = filled(3000, 1);
      engine.tree(0).put(key, value);
      key.fill(0);
      value.fill(0);
      expect(engine.tree(0).get(utf8("key"))).toEqual(filled(3000, 1));
    });

    it("takes keys and values that are views into itself", () => {
      const tree = engine.tree(0);
      const model = new Model();
      const key = (i: number): Uint8Array => utf8(`key ${String(i).padStart(4, "0")}`);
      for (let i = 0; i < 400; i++) {
        tree.put(key(i), filled(50 + (i % 200), i));
        model.put(key(i), filled(50 + (i % 200), i));
      }
      const cursor = tree.cursor();
      for (let i = 0; i < 400; i++) {
        // A version makes every change copy its path, so that pages come and go under the view.
        const version = i % 3 === 0 ? engine.pin() : undefined;
        expect(cursor.seek(key((i * 7) % 400))).toBe(true);
        const other = tree.get(key((i * 11) % 400)) as Uint8Array;
        model.put(cursor.key.slice(), other.slice());
        tree.put(cursor.key, other);
        version?.release();
      }
      expect(contents(tree)).toEqual(model.contents());
      engine.invariants();
    });

    it("a put goes to its own place, whatever was looked for before it", () => {
      const tree = engine.tree(0);
      const model = new Model();
      const random = new Random(11);
      const asked = new Uint8Array(8);
      const given = new Uint8Array(200);
      let last = 0;
      for (let i = 0; i < 3_000; i++) {
        // Ascending runs, and between them keys from anywhere: both in one buffer, whose bytes change after the question.
        const at = random.below(3) === 0 ? random.below(1_000_000) : (last += random.below(40));
        new DataView(asked.buffer).setUint32(4, at);
        const found = tree.getForPut(asked);
        expect(found).toEqual(model.get(asked));
        const version = random.below(10) === 0 ? engine.pin() : undefined;
        if (random.below(8) === 0) {
          const other = filled(1 + random.below(20), i);
          tree.put(other, asked);
          model.put(other, asked.slice());
        }
        if (random.below(8) === 0) {
          engine.tree(1).put(asked, asked);
        }
        if (random.below(8) === 0) {
          expect(tree.delete(asked)).toBe(found !== undefined);
          model.delete(asked);
        }
        if (random.below(4) === 0) asked[7] = (asked[7] as number) ^ 1;
        const value = given.subarray(0, random.below(200));
        expect(tree.put(asked, value)).toBe(model.get(asked) === undefined);
        model.put(asked.slice(), value.slice());
        version?.release();
      }
      expect(contents(tree)).toEqual(model.contents());
      engine.invariants();
    });

    it("keeps the empty key, the empty value, and keys that are prefixes of each other", () => {
      const tree = engine.tree(0);
      const keys = [NOTHING];
      for (let length = 1; length <= 300; length++) keys.push(new Uint8Array(length));
      for (let length = 1; length <= 300; length++) keys.push(utf8("p".repeat(length)));
      for (const [i, key] of keys.entries()) tree.put(key, i % 2 === 0 ? NOTHING : utf8(String(i)));
      for (const [i, key] of keys.entries()) {
        expect(tree.get(key)).toEqual(i % 2 === 0 ? NOTHING : utf8(String(i)));
      }
      expect(tree.get(new Uint8Array(301))).toBeUndefined();
      expect(tree.get(utf8("q"))).toBeUndefined();
      expect(contents(tree).map(([key]) => key)).toEqual(
        keys.toSorted(compareBytes).map((key) => hex(key)),
      );
      engine.invariants();
    });

    it("keeps keys around the lengths where their layout changes", () => {
      const tree = engine.tree(0);
      const model = new Model();
      const lengths = [1, 1019, 1020, 1023, 1024, 1025, 1026, 4095, 4096, 4097, 5055, 5056, 5057];
      lengths.push(8191, 8192, KEY_SIZE_MAX - 1, KEY_SIZE_MAX);
      // All long keys agree in their first kilobyte, so that comparisons need the rest.
      for (const length of lengths) {
        for (const last of [1, 2, 255]) {
          const key = new Uint8Array(length).fill(7);
          key[length - 1] = last;
          const value = filled(length % 50, last);
          expect(tree.put(key, value)).toBe(model.put(key, value));
        }
      }
      engine.invariants();
      expect(contents(tree)).toEqual(model.contents());
      for (const key of model.keys()) {
        const next = new Uint8Array([...key, 0]);
        if (next.length > KEY_SIZE_MAX) continue;
        expect(tree.get(key)).toBeDefined();
        expect(tree.get(next)).toBeUndefined();
        expect(tree.countRange(key, next)).toBe(1);
      }
      for (const key of model.keys()) {
        expect(tree.delete(key)).toBe(true);
        model.delete(key);
        expect(tree.get(key)).toBeUndefined();
      }
      expect(tree.count).toBe(0);
      engine.invariants();
    });

    it("separates neighbours that differ only after a kilobyte", () => {
      const tree = engine.tree(0);
      const model = new Model();
      const random = new Random(7);
      for (let i = 0; i < 60; i++) {
        const key = new Uint8Array(1500 + random.below(3000)).fill(9);
        key.set(random.bytes(4), 1400);
        const value = filled(random.below(600), i);
        expect(tree.put(key, value)).toBe(model.put(key, value));
      }
      engine.invariants();
      expect(contents(tree)).toEqual(model.contents());
      const keys = model.keys();
      for (const [i, key] of keys.entries()) {
        expect(tree.countRange(keys[0] as Uint8Array, key)).toBe(i);
      }
      for (const [i, key] of keys.entries()) {
        if (i % 3 !== 0) continue;
        expect(tree.delete(key)).toBe(true);
        model.delete(key);
      }
      expect(contents(tree)).toEqual(model.contents());
      engine.invariants();
    });

    it("keeps values of all sizes from nothing to 2 MiB, and changes of size", () => {
      const tree = engine.tree(0);
      const sizes = [0, 1, 1000, 1317, 1318, 1319, 1320, 1338, 2000, 4031, 4032, 4033, 8064, 8065];
      sizes.push(100_000, 2_032_127, 2_032_128, 2_032_129, 2 * 1024 * 1024);
      const key = (size: number): Uint8Array => utf8(`value of ${size}`);
      for (const size of sizes) tree.put(key(size), filled(size, size));
      engine.invariants();
      for (const size of sizes) expectValue(tree, key(size), filled(size, size));
      // Each takes the size of its neighbour: growing, shrinking, in and out of overflow pages.
      for (const [i, size] of sizes.entries()) {
        const other = sizes[(i + 1) % sizes.length] as number;
        expect(tree.put(key(size), filled(other, i))).toBe(false);
        expectValue(tree, key(size), filled(other, i));
      }
      engine.invariants();
      for (const [i, size] of sizes.entries()) {
        const other = sizes[(i + 1) % sizes.length] as number;
        expectValue(tree, key(size), filled(other, i));
        expect(tree.delete(key(size))).toBe(true);
      }
      expect(tree.count).toBe(0);
      engine.invariants();
    });

    it.each(["random", "ascending", "descending"])(
      "fills and empties again in %s order",
      (order) => {
        const tree = engine.tree(0);
        const random = new Random(11);
        const keys: Uint8Array[] = [];
        for (let i = 0; i < 3000; i++) {
          const key = random.bytes(12);
          key[0] = i >>> 8;
          key[1] = i;
          keys.push(key);
        }
        if (order === "descending") keys.reverse();
        if (order === "random") keys.sort((a, b) => compareBytes(a.subarray(2), b.subarray(2)));
        for (const [i, key] of keys.entries()) {
          expect(tree.put(key, filled(40, i))).toBe(true);
          if (i % 500 === 0) engine.invariants();
        }
        expect(tree.count).toBe(3000);
        engine.invariants();
        for (const [i, key] of keys.entries()) {
          expect(tree.delete(key)).toBe(true);
          if (i % 500 === 0) engine.invariants();
        }
        expect(contents(tree)).toEqual([]);
        engine.invariants();
      },
    );

    it("a range goes as a whole, wherever it begins and ends", () => {
      const random = new Random(3);
      const all = Array.from({ length: 3000 }, (_, i) => utf8(`key ${String(i).padStart(5, "0")}`));
      for (let round = 0; round < 12; round++) {
        const tree = engine.tree(0);
        const model = new Model();
        for (const [i, key] of all.entries()) {
          tree.put(key, filled(i % 300 === 0 ? 9000 : 40, i));
          model.put(key, filled(i % 300 === 0 ? 9000 : 40, i));
        }
        const version = engine.pin();
        for (let i = 0; i < 4; i++) {
          const from = all[random.below(3000)] as Uint8Array;
          const to = random.percent(20) ? undefined : all[random.below(3000)];
          expect(tree.deleteRange(from, to)).toBe(model.deleteRange(from, to));
          engine.invariants();
        }
        expect(contents(tree)).toEqual(model.contents());
        expect(contents(version.tree(0))).toHaveLength(3000);
        version.release();
        expect(tree.deleteRange(new Uint8Array(0), undefined)).toBe(model.keys().length);
        expect(contents(tree)).toEqual([]);
        engine.invariants();
      }
    });

    it("cursors go both ways from anywhere", () => {
      const tree = engine.tree(0);
      const key = (i: number): Uint8Array => utf8(`key ${String(i).padStart(5, "0")}`);
      for (let i = 1; i < 1000; i += 2) tree.put(key(i), filled(i % 100, i));
      const cursor = tree.cursor();
      for (let i = 0; i <= 1000; i += 7) {
        const above = i % 2 === 1 ? i : i + 1;
        expect(cursor.seek(key(i))).toBe(above < 1000);
        if (above < 1000) {
          expect(cursor.key).toEqual(key(above));
          expect(cursor.value).toEqual(filled(above % 100, above));
          expect(cursor.previous()).toBe(above > 1);
          if (above > 1) expect(cursor.key).toEqual(key(above - 2));
        }
        const below = i % 2 === 1 ? i - 2 : i - 1;
        expect(cursor.seekBefore(key(i))).toBe(below > 0);
        if (below > 0) {
          expect(cursor.key).toEqual(key(below));
          expect(cursor.next()).toBe(below + 2 < 1000);
          if (cursor.valid) expect(cursor.key).toEqual(key(below + 2));
        }
      }
      expect(descending(tree.cursor())).toEqual(
        contents(tree)
          .map(([name]) => name)
          .toReversed(),
      );
      expect(cursor.last()).toBe(true);
      expect(cursor.next()).toBe(false);
      expect(cursor.valid).toBe(false);
      expect(cursor.previous()).toBe(false);
    });

    it("a cursor left over from before a change is noticed", () => {
      const tree = engine.tree(0);
      tree.put(utf8("a"), NOTHING);
      const cursor = tree.cursor();
      cursor.first();
      tree.put(utf8("b"), NOTHING);
      expect(cursor.valid).toBe(false);
      expect(() => cursor.next()).toThrow("placed again");
      expect(() => cursor.key).toThrow("placed again");
      expect(cursor.seek(utf8("b"))).toBe(true);
      expect(cursor.key).toEqual(utf8("b"));
    });

    it("counts ranges like a loop would", () => {
      const tree = engine.tree(0);
      const random = new Random(3);
      const model = new Model();
      for (let i = 0; i < 800; i++) {
        const key = random.bytes(1 + random.below(3));
        tree.put(key, filled(random.below(200), i));
        model.put(key, NOTHING);
      }
      const keys = model.keys();
      for (let i = 0; i < 300; i++) {
        const from = random.bytes(random.below(4));
        const to = random.percent(10) ? undefined : random.bytes(random.below(4));
        const expected = keys.filter(
          (key) => compareBytes(key, from) >= 0 && (to === undefined || compareBytes(key, to) < 0),
        );
        expect(tree.countRange(from, to)).toBe(expected.length);
      }
    });

    it("a pinned version does not see later writes", () => {
      const tree = engine.tree(0);
      const random = new Random(5);
      const versions: { read: ReadTree; expected: [string, string][]; release: () => void }[] = [];
      const model = new Model();
      for (let step = 0; step < 12; step++) {
        for (let i = 0; i < 120; i++) {
          const key = random.bytes(2);
          if (random.percent(40)) {
            expect(tree.delete(key)).toBe(model.delete(key));
          } else {
            const value = filled(random.percent(5) ? 5000 : random.below(300), i);
            expect(tree.put(key, value)).toBe(model.put(key, value));
          }
        }
        const version = engine.pin();
        const read = version.tree(0);
        versions.push({ read, expected: model.contents(), release: () => version.release() });
        if (step % 3 === 2) {
          const [oldest] = versions.splice(random.below(versions.length), 1);
          oldest?.release();
        }
        engine.invariants();
        for (const { read: pinned, expected } of versions) {
          expect(contents(pinned)).toEqual(expected);
          expect(pinned.count).toBe(expected.length);
        }
      }
      const cursor = versions[0]?.read.cursor() as Cursor;
      cursor.first();
      tree.put(utf8("later"), NOTHING);
      expect(cursor.valid).toBe(true);
      for (const { release } of versions) release();
      expect(() => cursor.next()).toThrow();
      expect(() => versions[0]?.read.get(utf8("a"))).toThrow("before its release");
      expect(() => versions[0]?.release()).toThrow("released once");
      engine.invariants();
    });

    it("trees do not see each other", () => {
      for (let id = 0; id < TREE_SLOTS; id++) {
        for (let i = 0; i < 50; i++) engine.tree(id).put(utf8(`${i}`), utf8(`${id} ${i}`));
      }
      engine.tree(3).delete(utf8("7"));
      for (let id = 0; id < TREE_SLOTS; id++) {
        expect(engine.tree(id).count).toBe(id === 3 ? 49 : 50);
        expect(engine.tree(id).get(utf8("9"))).toEqual(utf8(`${id} 9`));
      }
      expect(() => engine.tree(TREE_SLOTS)).toThrow("slot");
      engine.invariants();
    });

    it("refuses keys and values beyond their limits", () => {
      const tree = engine.tree(0);
      expect(() => tree.put(new Uint8Array(KEY_SIZE_MAX + 1), NOTHING)).toThrow("KEY_SIZE_MAX");
      expect(() => tree.put(NOTHING, new Uint8Array(64 * 1024 * 1024 + 1))).toThrow(
        "VALUE_SIZE_MAX",
      );
      expect(tree.count).toBe(0);
    });

    it("remembers the newest checkpoint and the one before", () => {
      expect(engine.checkpoints).toEqual({ newest: null, older: null });
      const meta = (n: number): Parameters<Engine["checkpoint"]>[0] => ({
        appliedIndex: n,
        appliedTerm: 2,
        walLsn: n * 100,
        payload: utf8(`payload ${n}`),
      });
      under.run(engine.checkpoint(meta(1)));
      expect(engine.checkpoints).toEqual({ newest: meta(1), older: null });
      engine.tree(0).put(utf8("a"), NOTHING);
      under.run(engine.checkpoint(meta(2)));
      expect(engine.checkpoints).toEqual({ newest: meta(2), older: meta(1) });
      expect(() => under.run(engine.checkpoint({ ...meta(3), appliedIndex: -1 }))).toThrow("safe");
      expect(() =>
        under.run(engine.checkpoint({ ...meta(3), payload: new Uint8Array(1025) })),
      ).toThrow("payload");
      engine.invariants();
    });

    it("does what a sorted map does, whatever is asked", () => {
      fc.assert(
        fc.property(fc.array(stepArbitrary, { maxLength: 150, size: "max" }), (steps) => {
          const { engine: fresh, run } = open();
          replay(fresh, run, steps);
          run(fresh.close());
        }),
        { numRuns: 60 },
      );
    });
  });
}

/** One step of a random history. Keys come from a small space, so that they meet again. */
type Step =
  | { readonly kind: "put"; readonly tree: number; readonly key: number; readonly size: number }
  | { readonly kind: "delete"; readonly tree: number; readonly key: number }
  | {
      readonly kind: "deleteRange";
      readonly tree: number;
      readonly from: number;
      readonly count: number;
    }
  | { readonly kind: "pin" | "release" | "checkpoint" | "check" };

const keyArbitrary = fc.nat({ max: 400 });
const treeArbitrary = fc.nat({ max: 1 });
const sizeArbitrary = fc.oneof(
  { weight: 6, arbitrary: fc.nat({ max: 200 }) },
  { weight: 3, arbitrary: fc.nat({ max: 1400 }) },
  { weight: 1, arbitrary: fc.nat({ max: 20_000 }) },
);
const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant("put" as const),
      tree: treeArbitrary,
      key: keyArbitrary,
      size: sizeArbitrary,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("delete" as const),
      tree: treeArbitrary,
      key: keyArbitrary,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("deleteRange" as const),
      tree: treeArbitrary,
      from: keyArbitrary,
      count: fc.nat({ max: 100 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom("pin" as const, "release", "checkpoint", "check"),
    }),
  },
);

/** Keys of many lengths with long common beginnings; some share more than a kilobyte. */
export function keyOf(n: number): Uint8Array {
  const length = n % 10 === 0 ? 1030 + (n % 7) * 500 : n % 5 === 0 ? 600 : 6;
  const key = new Uint8Array(length).fill(n % 10 === 0 ? 5 : 6);
  const at = n % 10 === 0 ? 1026 : 2;
  key[at] = n >>> 8;
  key[at + 1] = n;
  return key;
}

function replay(engine: Engine, run: EngineUnderTest["run"], steps: readonly Step[]): void {
  const models = [new Model(), new Model()];
  const pinned: { expected: [string, string][][]; version: ReturnType<Engine["pin"]> }[] = [];
  let index = 0;
  for (const [at, step] of steps.entries()) {
    index++;
    switch (step.kind) {
      case "put": {
        const value = filled(step.size, at);
        const expected = (models[step.tree] as Model).put(keyOf(step.key), value);
        expect(engine.tree(step.tree).put(keyOf(step.key), value)).toBe(expected);
        break;
      }
      case "delete": {
        const expected = (models[step.tree] as Model).delete(keyOf(step.key));
        expect(engine.tree(step.tree).delete(keyOf(step.key))).toBe(expected);
        break;
      }
      case "deleteRange":
        {
          const [a, b] = [keyOf(step.from), keyOf(step.from + step.count)].toSorted(compareBytes);
          const to = step.count === 100 ? undefined : b;
          const expected = (models[step.tree] as Model).deleteRange(a as Uint8Array, to);
          expect(engine.tree(step.tree).deleteRange(a as Uint8Array, to)).toBe(expected);
        }
        break;
      case "pin":
        pinned.push({
          expected: models.map((model) => model.contents()),
          version: engine.pin(),
        });
        break;
      case "release":
        pinned.splice(at % Math.max(1, pinned.length), 1)[0]?.version.release();
        break;
      case "checkpoint":
        run(
          engine.checkpoint({
            appliedIndex: index,
            appliedTerm: 1,
            walLsn: index,
            payload: NOTHING,
          }),
        );
        break;
      case "check":
        engine.invariants();
        for (const { expected, version } of pinned) {
          for (const [id, all] of expected.entries()) {
            expect(contents(version.tree(id))).toEqual(all);
          }
        }
        break;
    }
  }
  engine.invariants();
  for (const [id, model] of models.entries()) {
    const tree = engine.tree(id);
    const expected = model.contents();
    expect(contents(tree)).toEqual(expected);
    expect(descending(tree.cursor())).toEqual(expected.map(([key]) => key).toReversed());
    expect(tree.count).toBe(expected.length);
  }
  for (const { version } of pinned) version.release();
  engine.invariants();
}
