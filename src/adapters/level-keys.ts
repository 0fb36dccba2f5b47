/** Keys of a level within the database: the same bytes behind the prefix. */
import { compareBytes, concatBytes, utf8 } from "../base/index.ts";
import type { Range } from "../index.ts";

/** Bounds of a level's range. Where both are there, `gte` counts and not `gt`, and `lte` and not `lt`. */
export interface KeyRange {
  readonly gt?: Uint8Array | undefined;
  readonly gte?: Uint8Array | undefined;
  readonly lt?: Uint8Array | undefined;
  readonly lte?: Uint8Array | undefined;
  readonly reverse?: boolean | undefined;
}

export class LevelKeys {
  readonly #prefix: Uint8Array;

  constructor(prefix: string) {
    this.#prefix = utf8(prefix);
  }

  /** The key in the database. */
  inner(key: Uint8Array): Uint8Array {
    return concatBytes(this.#prefix, key);
  }

  /** The level's key, in bytes of its own. */
  outer(key: Uint8Array): Uint8Array {
    return this.#prefix.length === 0 ? key : key.slice(this.#prefix.length);
  }

  /** The range in the database, which never leaves the prefix. */
  bounds({ gt, gte, lt, lte }: KeyRange): Range {
    const inner = (key: Uint8Array | undefined): Uint8Array | undefined =>
      key === undefined ? undefined : this.inner(key);
    return {
      prefix: this.#prefix,
      ...(gte === undefined ? { gt: inner(gt) } : { gte: inner(gte) }),
      ...(lte === undefined ? { lt: inner(lt) } : { lte: inner(lte) }),
    };
  }
}

/** What is left of a range from `target` on, in its direction; null when the target lies outside of it. */
export function restFrom(range: KeyRange, target: Uint8Array): KeyRange | null {
  const { gt, gte, lt, lte, reverse } = range;
  const isAbove =
    gte === undefined
      ? gt === undefined || compareBytes(target, gt) > 0
      : compareBytes(target, gte) >= 0;
  const isBelow =
    lte === undefined
      ? lt === undefined || compareBytes(target, lt) < 0
      : compareBytes(target, lte) <= 0;
  if (!isAbove || !isBelow) return null;
  return reverse === true ? { gt, gte, lte: target, reverse } : { lt, lte, gte: target };
}
