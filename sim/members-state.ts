/** What members have applied, over all lives: equal at equal places, and only what a majority holds durably. */
import type { LogIndex } from "../src/raft/index.ts";
import { check } from "./violation.ts";

export class StateOracle {
  readonly #hashes = new Map<LogIndex, number>();
  #newest: LogIndex = 0;

  /** The highest index that anybody has applied: all up to it is committed. */
  get newest(): LogIndex {
    return this.#newest;
  }

  /** True when nobody had come as far. */
  applied(member: number, index: LogIndex, stateHash: number): boolean {
    const known = this.#hashes.get(index);
    check(
      known === undefined || known === stateHash,
      "all states are equal at an index",
      () => `index ${index}, member ${member}: ${stateHash}, and ${known} elsewhere`,
    );
    this.#hashes.set(index, stateHash);
    if (index <= this.#newest) return false;
    this.#newest = index;
    return true;
  }
}
