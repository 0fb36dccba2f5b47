/**
 * The judge of what clients of a cluster saw, with everything at hand that ever happened to its keys. That everything
 * is read from a member when all is over, and it must be just what the answers say: each acknowledged write is there
 * once, at the revision that its client was told, nothing is there that nobody asked for or that was refused for
 * certain, and with what was read in between it is one history of one machine (sim/linearizability).
 */
import { text } from "../src/base/index.ts";
import type { Outcome, WatchEvent } from "../src/db/index.ts";
import { checkLinearizability } from "./linearizability/checker.ts";
import type { Operation } from "./linearizability/history.ts";
import {
  carriedOut,
  type KvInput,
  type KvOutput,
  type KvSimpleInput,
} from "./linearizability/kv-model.ts";
import { type CounterInput, counterModel } from "./linearizability/models.ts";
import { checkRevisionOrder } from "./linearizability/revision-order.ts";
import type { Told } from "./members-clients.ts";
import { type Ask, isReadOnly, toOutput } from "./members-requests.ts";
import { check, show } from "./violation.ts";

/** What a revision did to a key: its new value, or null where it was deleted. */
interface Change {
  readonly key: string;
  readonly value: string | null;
}

export type History = ReadonlyMap<number, readonly Change[]>;

/** Keys of this kind hold counters, and of that one locks; all others hold what was put. */
export const COUNTER = "c";
export const LOCK = "l";

export function historyOf(events: readonly WatchEvent[]): History {
  const history = new Map<number, Change[]>();
  for (const { type, kv } of events) {
    const change = { key: text(kv.key), value: type === "delete" ? null : text(kv.value) };
    const changes = history.get(kv.modRevision);
    if (changes === undefined) history.set(kv.modRevision, [change]);
    else changes.push(change);
  }
  return history;
}

type KvOperation = Operation<KvInput, KvOutput>;

/** A stamp is a whole millisecond, rounded down, and what it begins may end by so much early. */
const ROUNDING_MS = 1;

/** `isTimeTrue`: no wall clock is ever wrong. Then no lock ends before its time, whoever leads and whoever is stopped. */
export function judgeHistory(
  all: readonly Told[],
  history: History,
  isTimeTrue: boolean,
): HistoryNews {
  const judge = new HistoryJudge(all, history);
  judge.acknowledged();
  judge.refused();
  judge.replay();
  judge.counters();
  return judge.locks(isTimeTrue);
}

/** What came along, for the marks. */
export interface HistoryNews {
  readonly locksEnded: number;
  readonly locksTakenAfter: number;
}

class HistoryJudge {
  readonly #all: readonly Told[];
  readonly #history: History;
  /** By key and value: the revision that put it there. Values are written once, counters aside. */
  readonly #puts = new Map<string, number>();

  constructor(all: readonly Told[], history: History) {
    this.#all = all;
    this.#history = history;
    for (const [revision, changes] of history)
      for (const { key, value } of changes) {
        if (value === null || key.startsWith(COUNTER)) continue;
        const name = `${key}=${value}`;
        check(
          !this.#puts.has(name),
          "a command is applied once",
          () => `${name} at ${this.#puts.get(name)} and ${revision}`,
        );
        this.#puts.set(name, revision);
      }
  }

  /** Each acknowledged write did at its revision what its answer says. */
  acknowledged(): void {
    for (const told of this.#all) {
      if (told.outcome !== "ok") continue;
      const wanted = changesOf(told);
      if (wanted.length === 0) continue;
      const { revision } = told.answer as Outcome;
      const found = this.#history.get(revision) ?? [];
      check(
        wanted.length === found.length &&
          wanted.every(({ key, value }) =>
            found.some((one) => one.key === key && one.value === value),
          ),
        "every acknowledged write is there, at its revision",
        () => `${show(told.request)}: revision ${revision} did ${show(found)}`,
      );
    }
  }

  /** What was refused for certain did not happen. */
  refused(): void {
    for (const { outcome, request } of this.#all)
      if (outcome === "fail")
        check(
          !this.#hasWritten(request.ask),
          "a command that was refused for certain is not applied",
          () => show(request),
        );
  }

  /** Everything in the order of revisions, as one machine would have done it. */
  replay(): void {
    const operations: KvOperation[] = [];
    const add = (told: Told, input: KvInput, output: KvOutput | undefined): void => {
      const { invokedAt, returnedAt, outcome, request } = told;
      const id = operations.length;
      operations.push({
        id,
        process: request.client,
        input,
        output,
        outcome,
        invokedAt,
        returnedAt,
      });
    };
    for (const told of this.#all) {
      const { request, outcome, answer } = told;
      const { ask } = request;
      if (outcome === "fail") continue;
      if (outcome === "unknown") {
        if (!isReadOnly(ask) && this.#mayHaveHappened(ask)) {
          if (ask.kind === "kv") add(told, ask.input, undefined);
          else if (ask.kind === "lock") add(told, putOf(ask.key, ask.owner), undefined);
        }
      } else if (ask.kind === "kv") add(told, ask.input, toOutput(answer as Outcome));
      else {
        const [change] = changesOf(told);
        if (change === undefined) continue;
        const { key, value } = change;
        const { revision } = answer as Outcome;
        const results = [value === null ? 1 : null];
        const input: KvInput = value === null ? { kind: "delete", key } : putOf(key, value);
        add(told, input, { revision, succeeded: true, results });
      }
    }
    for (const changes of this.#unclaimed()) {
      const id = operations.length;
      const all = changes.map(({ key, value }): KvSimpleInput =>
        value === null ? { kind: "delete", key } : { kind: "put", key, value },
      );
      const input: KvInput = { kind: "txn", compare: [], success: all, failure: [] };
      const none = { outcome: "unknown", output: undefined, returnedAt: Infinity } as const;
      operations.push({ id, process: 0, input, invokedAt: 0, ...none });
    }
    const changes = new Map(
      [...this.#history].map(([revision, of]) => [
        revision,
        new Map(of.map(({ key, value }) => [key, value])),
      ]),
    );
    const verdict = checkRevisionOrder(operations, { changes });
    check(verdict.kind === "linearizable", "what clients saw is linearizable", () =>
      show(verdict).slice(0, 3000),
    );
  }

  /** Counters again, by a search that knows nothing of revisions. */
  counters(): void {
    const operations: Operation<CounterInput, number>[] = [];
    for (const { request, outcome, answer, invokedAt, returnedAt } of this.#all) {
      const { ask, client } = request;
      const base = { id: operations.length, process: client, invokedAt, returnedAt, outcome };
      if (outcome === "fail") continue;
      if (ask.kind === "incr") {
        const { key, by } = ask;
        const output = answer?.kind === "incr" ? Number(answer.value) : undefined;
        operations.push({ ...base, input: { kind: "incr", key, by }, output });
      } else if (outcome === "ok" && answer?.kind === "range" && isReadOf(ask, COUNTER)) {
        const [kv] = answer.kvs;
        const input: CounterInput = { kind: "read", key: ask.input.key };
        operations.push({ ...base, input, output: kv === undefined ? 0 : Number(text(kv.value)) });
      }
    }
    const verdict = checkLinearizability(counterModel, operations);
    check(verdict.kind === "linearizable", "what clients saw is linearizable", () =>
      show(verdict).slice(0, 3000),
    );
  }

  /** A lock that was acknowledged is its owner's until he gives it back or its time is over. */
  locks(isTimeTrue: boolean): HistoryNews {
    let locksEnded = 0;
    let locksTakenAfter = 0;
    for (const told of this.#all) {
      const { request, answer } = told;
      const { ask } = request;
      if (ask.kind !== "lock" || answer?.kind !== "lock" || !answer.acquired) continue;
      const { revision } = answer;
      const end = this.#endOf(ask.key, revision);
      if (end === null) continue;
      const givenBack = this.#all.find(
        (other) => other.request.ask.kind === "unlock" && other.request.ask.owner === ask.owner,
      );
      if (givenBack === undefined) {
        locksEnded++;
        if (this.#all.some((other) => isTakenAfter(other, ask.key, end))) locksTakenAfter++;
      }
      if (!isTimeTrue) continue;
      const lastsUntil = told.invokedAt + ask.ttlMs - ROUNDING_MS;
      const untilMs = Math.min(lastsUntil, givenBack?.invokedAt ?? Infinity);
      const early = this.#all.find(
        (other) =>
          other.outcome === "ok" &&
          (other.answer?.revision ?? 0) >= end &&
          other.returnedAt < untilMs,
      );
      check(
        early === undefined,
        "a lock has one owner until it ends",
        () =>
          `${show(request)} at ${revision} ended at ${end}, which ${show(early?.request)} saw at ${early?.returnedAt}, before ${untilMs}`,
      );
    }
    return { locksEnded, locksTakenAfter };
  }

  /** The revision that deleted a key after it was made at `revision`; null: none did. */
  #endOf(key: string, revision: number): number | null {
    for (const [later, changes] of this.#history)
      if (later > revision && changes.some((one) => one.key === key && one.value === null))
        return later;
    return null;
  }

  /** What it puts is there. Of what only deletes or counts nothing can be told. */
  #hasWritten(ask: Ask): boolean {
    if (ask.kind === "lock") return this.#puts.has(`${ask.key}=${ask.owner}`);
    return putsOf(ask).some(({ key, value }) => this.#puts.has(`${key}=${value}`));
  }

  #mayHaveHappened(ask: Ask): boolean {
    return this.#hasWritten(ask) || (ask.kind === "kv" && putsOf(ask).length === 0);
  }

  /**
   * Changes of counters and locks that no answer speaks of: of requests whose outcome nobody knows, and of locks that
   * ended, several of them at one revision. There are no more of those than may have happened.
   */
  #unclaimed(): readonly (readonly Change[])[] {
    const claimed = new Set<number>();
    const open = new Map<string, number>();
    for (const told of this.#all) {
      const { ask } = told.request;
      if (told.outcome === "ok" && changesOf(told).length > 0)
        claimed.add((told.answer as Outcome).revision);
      if (told.outcome === "unknown" && ask.kind === "incr")
        open.set(ask.key, (open.get(ask.key) ?? 0) + 1);
    }
    const unclaimed: Change[][] = [];
    for (const [revision, changes] of this.#history) {
      if (claimed.has(revision)) continue;
      const ended = changes.filter(({ key, value }) => key.startsWith(LOCK) && value === null);
      if (ended.length > 0) unclaimed.push(ended);
      for (const change of changes) {
        const { key, value } = change;
        if (!key.startsWith(COUNTER)) continue;
        const left = (open.get(key) ?? 0) - 1;
        check(
          left >= 0,
          "a counter counts what it was asked to, and nothing twice",
          () => `${key} is ${value} at ${revision}, and nobody asked for that`,
        );
        open.set(key, left);
        unclaimed.push([change]);
      }
    }
    return unclaimed;
  }
}

function putsOf(ask: Ask): readonly (KvSimpleInput & { readonly kind: "put" })[] {
  if (ask.kind !== "kv") return [];
  const { input } = ask;
  const ops = input.kind === "txn" ? [...input.success, ...input.failure] : [input];
  return ops.filter((op) => op.kind === "put");
}

function putOf(key: string, value: string): KvInput {
  return { kind: "put", key, value };
}

function isReadOf(
  ask: Ask,
  kind: string,
): ask is { readonly kind: "kv"; readonly input: { readonly kind: "get"; readonly key: string } } {
  return ask.kind === "kv" && ask.input.kind === "get" && ask.input.key.startsWith(kind);
}

function isTakenAfter({ request, answer }: Told, key: string, revision: number): boolean {
  const { ask } = request;
  if (ask.kind !== "lock" || ask.key !== key || answer?.kind !== "lock") return false;
  return answer.acquired && answer.revision > revision;
}

/** What an acknowledged request did, by its answer. */
function changesOf({ request, answer }: Told): readonly Change[] {
  const { ask } = request;
  if (answer === null) return [];
  if (ask.kind === "incr")
    return answer.kind === "incr" ? [{ key: ask.key, value: String(answer.value) }] : [];
  if (ask.kind === "lock")
    return answer.kind === "lock" && answer.acquired ? [{ key: ask.key, value: ask.owner }] : [];
  if (ask.kind === "unlock")
    return answer.kind === "unlock" && answer.released ? [{ key: ask.key, value: null }] : [];
  const { succeeded, results } = toOutput(answer);
  return carriedOut(ask.input, succeeded).flatMap((op, i): Change[] => {
    if (op.kind === "put") return [{ key: op.key, value: op.value }];
    return op.kind === "delete" && results[i] !== 0 ? [{ key: op.key, value: null }] : [];
  });
}
