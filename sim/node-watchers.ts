/**
 * Those who watch a node: clients that take when it suits them and come back after a crash where they were, and the
 * witness that hears of everything at once (witness.ts).
 */
import type { Database, Watch, WatchNews, WatchRequest } from "../src/db/index.ts";
import type { Marks } from "./marks.ts";
import { ALL_CHANGES, MANY_BYTES } from "./node-driver.ts";
import { NODE_MARKS } from "./node-watch.ts";
import type { Oracle } from "./oracle.ts";
import { check, show } from "./violation.ts";

interface Client {
  readonly request: WatchRequest;
  /** Null: the node that it watched is gone, or the watch has ended. */
  watch: Watch | null;
  /** The first revision that it has not heard of. */
  next: number;
  /** Up to where the database had compacted when the watch began. */
  readonly compactRevision: number;
}

export class NodeWatchers {
  readonly #oracle: Oracle;
  readonly #marks: Marks;
  readonly #clients = new Map<number, Client>();
  #witness: Watch | null = null;

  constructor(oracle: Oracle, marks: Marks) {
    this.#oracle = oracle;
    this.#marks = marks;
  }

  /** The node was opened and its state is known: the witness begins. `onNews` is told when there is something to hear. */
  opened(database: Database, onNews: () => void): void {
    const startRevision = database.header.revision + 1;
    this.#witness = database.watch({ ...ALL_CHANGES, startRevision }, onNews);
  }

  /** The process has ended, and its watches with it. */
  ended(): void {
    this.#witness = null;
    for (const client of this.#clients.values()) client.watch = null;
  }

  /** What the witness has to tell, before an answer is judged. `mayFail`: the node may have stopped. */
  hear(mayFail: boolean): void {
    for (let witness = this.#witness; witness !== null; witness = this.#witness) {
      const news = witness.take(MANY_BYTES);
      if (news === null) {
        if (witness.isSynced) this.#oracle.heard([], witness.revision);
        return;
      }
      if (news.kind === "events") {
        if (news.events.some(({ cause }) => cause === "expired"))
          this.#marks.hit(NODE_MARKS.keyEnded);
        this.#oracle.heard(news.events, news.revision);
        continue;
      }
      check(mayFail && news.kind === "failed", "who watches everything hears everything", () =>
        show(news),
      );
      this.#witness = null;
      this.#oracle.deaf();
    }
  }

  watch(watcher: number, asked: WatchRequest, database: Database): void {
    const before = this.#clients.get(watcher);
    if (before?.watch != null) return;
    const isResumed = asked.startRevision < 0;
    if (isResumed && before === undefined) return;
    const { revision } = database.header;
    const request =
      isResumed && before !== undefined ? { ...before.request, startRevision: before.next } : asked;
    if (isResumed) this.#marks.hit(NODE_MARKS.resumed);
    this.#clients.set(watcher, {
      request,
      watch: database.watch(request, () => {}),
      next: request.startRevision === 0 ? revision + 1 : request.startRevision,
      compactRevision: database.status().compactRevision,
    });
  }

  take(watcher: number, maxBytes: number, database: Database, mayFail: boolean): void {
    const client = this.#clients.get(watcher);
    if (client === undefined || client.watch === null) return;
    const { watch, request, next } = client;
    const news = watch.take(maxBytes);
    if (news === null && !watch.isSynced) return;
    if (news?.kind === "failed") {
      check(mayFail, "a watch ends with its node alone", () => String(news.error));
      client.watch = null;
      return;
    }
    const through = news?.kind === "events" ? news.revision : database.header.revision;
    const compactRevision = Math.max(database.status().compactRevision, client.compactRevision);
    this.#mark(client, news);
    this.#oracle.told({ request, next }, news, through, compactRevision);
    if (news?.kind === "compacted") {
      client.watch = null;
      client.next = news.compactRevision;
    } else client.next = Math.max(next, through + 1);
  }

  unwatch(watcher: number): void {
    const client = this.#clients.get(watcher);
    client?.watch?.cancel();
    if (client !== undefined) client.watch = null;
  }

  #mark({ next }: Client, news: WatchNews | null): void {
    if (news?.kind === "compacted") this.#marks.hit(NODE_MARKS.watchCompacted);
    if (news?.kind === "events" && news.revision > next + 20)
      this.#marks.hit(NODE_MARKS.watchedOld);
  }
}
