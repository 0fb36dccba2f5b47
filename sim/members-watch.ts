/**
 * Somebody who watches every key at a member from its start on, through snapshots that take the place of its state. In
 * the end what he was told must be a piece of what happened, without a gap and in order.
 */
import { text } from "../src/base/index.ts";
import type { Database, Watch, WatchEvent } from "../src/db/index.ts";
import type { History } from "./members-history.ts";
import { ALL_CHANGES, MANY_BYTES } from "./node-driver.ts";
import { check } from "./violation.ts";

export class MemberWatch {
  readonly #name: string;
  readonly #watch: Watch;
  readonly #from: number;
  readonly #told: WatchEvent[] = [];

  /** `guarded` runs what the member would swallow if it threw. */
  constructor(name: string, database: Database, guarded: (judge: () => void) => void) {
    this.#name = name;
    this.#from = database.header.revision + 1;
    this.#watch = database.watch({ ...ALL_CHANGES, startRevision: this.#from }, () =>
      guarded(() => this.#take()),
    );
  }

  /** `isLive`: the member runs, and everything has happened. */
  judge(history: History, isLive: boolean): void {
    if (isLive) this.#take();
    let at = 0;
    const lastTold = this.#told.at(-1)?.kv.modRevision ?? 0;
    const last = isLive ? Math.max(0, ...history.keys()) : lastTold;
    for (let revision = this.#from; revision <= last; revision++)
      for (const { key, value } of history.get(revision) ?? []) {
        const told = this.#told[at++];
        const isTold =
          told?.kv.modRevision === revision &&
          text(told.kv.key) === key &&
          (told.type === "delete" ? null : text(told.kv.value)) === value;
        check(
          isTold,
          "who watches a member is told everything that happened, once and in order",
          () =>
            `${this.#name} from ${this.#from}: ${revision} did ${key}=${value}, and told was ${told?.type} of ${told?.kv.modRevision}`,
        );
      }
    check(
      at === this.#told.length,
      "who watches a member is told everything that happened, once and in order",
      () => `${this.#name} from ${this.#from}: ${this.#told.length - at} events did not happen`,
    );
  }

  #take(): void {
    for (let news = this.#watch.take(MANY_BYTES); news !== null;) {
      if (news.kind === "events") this.#told.push(...news.events);
      check(
        news.kind !== "compacted",
        "nothing is compacted where all history is kept",
        () => `${this.#name}: ${this.#told.length} events were told before`,
      );
      // A member that stops ends its watches.
      if (news.kind === "failed") return;
      news = this.#watch.take(MANY_BYTES);
    }
  }
}
