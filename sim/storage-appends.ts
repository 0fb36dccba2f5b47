/** What is appended to the log of a group: new entries, a tail that replaces another one, a HardState alone. */
import { Random } from "../src/base/index.ts";
import { type Entry, EntryType, type GroupId } from "../src/raft/index.ts";
import { keyBytes } from "./model.ts";
import type { StorageWorldOptions } from "./storage-options.ts";
import { TREES } from "./storage.ts";
import { encodeOps, type GroupState, type ModelAppend, type TreeOp } from "./storage-model.ts";

export class AppendSource {
  readonly #options: StorageWorldOptions;
  readonly #random: Random;
  #values = 0;
  #term = 1;

  constructor(seed: number, options: StorageWorldOptions) {
    this.#options = options;
    this.#random = new Random(seed);
  }

  /** An append that fits to the newest state of the group. */
  next(group: GroupId, { entries, hardState }: GroupState): ModelAppend {
    const random = this.#random;
    const last = entries.length;
    if (random.percent(8)) {
      this.#term++;
      return {
        group,
        entries: [],
        hardState: { ...hardState, term: this.#term, vote: random.between(1, 3) },
      };
    }
    const overwrites = this.#options.overwrites && last > hardState.commit && random.percent(30);
    if (overwrites) this.#term++;
    const from = overwrites ? random.between(hardState.commit + 1, last) : last + 1;
    const term = Math.max(this.#term, hardState.term);
    const added: Entry[] = Array.from({ length: random.between(1, 4) }, (_, i) => ({
      index: from + i,
      term,
      type: random.percent(5) ? EntryType.empty : EntryType.normal,
      data: random.percent(5) ? new Uint8Array(0) : encodeOps(this.#ops()),
    }));
    const end = from + added.length - 1;
    const commit = random.percent(60)
      ? random.between(Math.min(hardState.commit, end), end)
      : hardState.commit;
    const isSaved = commit !== hardState.commit || term !== hardState.term || random.percent(20);
    return {
      group,
      entries: added,
      hardState: isSaved
        ? {
            term,
            vote: term === hardState.term ? hardState.vote : 0,
            commit: Math.max(commit, hardState.commit),
          }
        : null,
    };
  }

  #ops(): TreeOp[] {
    const random = this.#random;
    return Array.from({ length: random.between(1, 3) }, () => {
      const number = random.below(this.#options.keys);
      const key = keyBytes(
        this.#options.large && number % 7 === 0 ? `${"long".repeat(300)}${number}` : `key${number}`,
      );
      const size =
        this.#options.large && random.percent(4)
          ? random.between(3000, 15_000)
          : random.percent(10)
            ? random.between(200, 900)
            : random.below(60);
      const value = keyBytes(`${this.#values++}${".".repeat(size)}`);
      return { tree: random.below(TREES), key, value: random.percent(25) ? null : value };
    });
  }
}
