/** Versions of trees that somebody keeps while everything goes on: they do not change. */
import type { Version } from "../src/btree/index.ts";
import type { GroupId } from "../src/raft/index.ts";
import type { Content, KeyTable } from "./storage-model.ts";
import { check } from "./violation.ts";

interface Pin {
  readonly group: GroupId;
  readonly version: Version;
  readonly content: Content;
}

const PINS_MAX = 4;

export class StoragePins {
  readonly #table: KeyTable;
  /** The oldest first. */
  #pins: Pin[] = [];

  constructor(table: KeyTable) {
    this.#table = table;
  }

  add(pin: Pin): void {
    if (this.#pins.length === PINS_MAX) this.check(1);
    this.#pins.push(pin);
  }

  /** Looks at so many of the oldest and lets them go. */
  check(count: number): void {
    for (const { group, version, content } of this.#pins.splice(0, count)) {
      const found = this.#table.difference((id) => version.tree(id), content);
      check(found === null, "a pinned version does not change", () => `group ${group}: ${found}`);
      version.release();
    }
  }

  /** The process that kept them has ended. */
  forget(): void {
    this.#pins = [];
  }
}
