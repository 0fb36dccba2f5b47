/**
 * The replay of revision-order.ts: carries the changes of a history out in order of their revisions, and compares.
 *
 * A revision that nobody acknowledged leaves a choice where several operations of unknown outcome could have made
 * it. The replay tries them in order of their beginnings and steps back to the last choice when an answer contradicts
 * it. Three things keep this from becoming a search: a record that anybody saw of such a revision must be the very one
 * that the blamed operation makes; a key is not changed there when the next record that anybody saw of it is an older
 * one; and when only one operation of the history puts that value there, it made this
 * revision and no other. What is left is bounded by a number of steps.
 *
 * Where somebody has read what each revision did (`RevisionOptions.changes`), an operation must have done just that.
 *
 * Of suspects that ask for the same the one that began first is blamed first: it fits wherever the others do.
 */
import { difference } from "../violation.ts";
import { applyKv, carriedOut, type KvChanges, type KvRecord } from "./kv-model.ts";
import {
  BrokenRule,
  type KvOperation,
  type RevisionChanges,
  showOperation,
  type Suspect,
  type Timeline,
} from "./revision-timeline.ts";

/** A revision that was blamed on a suspect, by its place among them. */
interface Choice {
  readonly revision: number;
  readonly suspect: number;
}

export class Replay {
  readonly #timeline: Timeline;
  readonly #stepsMax: number;
  /** What every revision did; null: nobody knows. */
  readonly #known: RevisionChanges | null;
  #steps = 0;
  /** The store at the revision that the replay has reached. */
  readonly #state: { revision: number; readonly records: Map<string, KvRecord> };
  /** What each replayed revision changed, as it was before. */
  readonly #undo: KvChanges[] = [];
  readonly #choices: Choice[] = [];
  readonly #isBlamed: boolean[];
  /** Records of unacknowledged revisions that readers saw, by revision and key. */
  readonly #seen = new Map<number, Map<string, KvRecord>>();
  /** For each key what answers showed of its last change: at which revision, and of which. In that order. */
  readonly #sightings = new Map<string, { readonly at: number; readonly modRevision: number }[]>();
  /** For a suspect the only revision that it can have made, where that is known. */
  readonly #pinnedTo = new Map<number, number>();
  /** The contradiction at the highest revision that was reached. */
  #furthest: { readonly revision: number; readonly broken: BrokenRule } | null = null;

  constructor(timeline: Timeline, stepsMax: number, known: RevisionChanges | null) {
    const { initial, writers, suspects, revisionMax } = timeline;
    this.#timeline = timeline;
    this.#stepsMax = stepsMax;
    this.#known = known;
    this.#state = { revision: initial.revision, records: new Map(initial.records) };
    this.#isBlamed = suspects.map(() => false);
    const gaps = revisionMax - initial.revision - writers.size;
    if (gaps > suspects.length) {
      const known = `${writers.size} acknowledged and ${suspects.length} unknown changes`;
      const detail = `there are ${known}, but revision ${revisionMax} was reached`;
      throw new BrokenRule("every revision is made by an operation", detail);
    }
    this.#collectSeen();
    this.#pinSuspects();
  }

  /** `stuck` is null when all is explained, else where the steps ended and what contradicted most. Throws BrokenRule when no choice explains the answers. */
  run(): { readonly steps: number; readonly stuck: string | null } {
    const { revisionMax } = this.#timeline;
    const early = this.#readersDiffer();
    if (early !== null) throw early;
    let from = 0;
    while (this.#state.revision < revisionMax) {
      if (this.#steps >= this.#stepsMax) break;
      const broken = this.#advance(from);
      from = 0;
      if (broken === null) continue;
      const revision = this.#state.revision + 1;
      if (this.#furthest === null || revision > this.#furthest.revision) {
        this.#furthest = { revision, broken };
      }
      const choice = this.#choices.pop();
      if (choice === undefined) throw this.#furthest.broken;
      while (this.#state.revision >= choice.revision) this.#undoLast();
      this.#isBlamed[choice.suspect] = false;
      from = choice.suspect + 1;
    }
    const isDecided = this.#state.revision === revisionMax;
    const stuck = this.#furthest?.broken.message ?? `at revision ${this.#state.revision}`;
    return { steps: this.#steps, stuck: isDecided ? null : stuck };
  }

  /** Carries out the next revision, trying suspects from `from` on, or says why that is not possible. */
  #advance(from: number): BrokenRule | null {
    const { writers, suspects } = this.#timeline;
    const revision = this.#state.revision + 1;
    const writer = writers.get(revision);
    if (writer !== undefined) return this.#carryOut(writer) ?? this.#keepIfReadersAgree();
    const detail = `nothing that may have happened explains revision ${revision}`;
    let broken = new BrokenRule("every revision is made by an operation", detail);
    for (let i = from; i < suspects.length; i++) {
      const suspect = suspects[i] as Suspect;
      if (suspect.revisionMin > revision) break;
      const isTwinLeft = suspect.twinBefore >= 0 && this.#isBlamed[suspect.twinBefore] === false;
      if (this.#isBlamed[i] === true || isTwinLeft) continue;
      if ((this.#pinnedTo.get(i) ?? revision) !== revision) continue;
      const problem = this.#carryOut(suspect.operation) ?? this.#keepIfReadersAgree();
      if (problem === null) {
        this.#isBlamed[i] = true;
        this.#choices.push({ revision, suspect: i });
        return null;
      }
      broken = problem;
    }
    return broken;
  }

  /** Changes the state, unless the operation cannot have made the next revision with the answer that it gave. */
  #carryOut(operation: KvOperation): BrokenRule | null {
    this.#steps++;
    const { output, changes } = applyKv(this.#state, operation.input);
    if (operation.output !== undefined) {
      const found = difference(operation.output, output, "answer");
      if (found !== null) return this.#mismatch(operation, found);
    }
    const revision = this.#state.revision + 1;
    let isAsSeen = changes.size > 0;
    for (const key of operation.outcome === "ok" ? [] : changes.keys()) {
      if (this.#isUnchangedLater(key, revision)) isAsSeen = false;
    }
    for (const [key, record] of this.#seen.get(revision) ?? []) {
      if (difference(changes.get(key), record) !== null) isAsSeen = false;
    }
    if (this.#known !== null && !isTheSame(changes, this.#known.get(revision))) isAsSeen = false;
    if (!isAsSeen) {
      const detail = `this cannot have made revision ${revision}\n${showOperation(operation)}`;
      return new BrokenRule("every revision is made by an operation", detail);
    }
    const before = new Map<string, KvRecord | null>();
    for (const key of changes.keys()) before.set(key, this.#state.records.get(key) ?? null);
    this.#write(changes);
    this.#undo.push(before);
    this.#state.revision = revision;
    return null;
  }

  /** Whether the next record of the key that anybody saw is of a change before this revision. */
  #isUnchangedLater(key: string, revision: number): boolean {
    const sightings = this.#sightings.get(key) ?? [];
    let low = 0;
    let high = sightings.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((sightings[middle]?.at ?? 0) < revision) low = middle + 1;
      else high = middle;
    }
    return (sightings[low]?.modRevision ?? Infinity) < revision;
  }

  #keepIfReadersAgree(): BrokenRule | null {
    const broken = this.#readersDiffer();
    if (broken !== null) this.#undoLast();
    return broken;
  }

  /** The first answer at the present revision that the state does not give. */
  #readersDiffer(): BrokenRule | null {
    for (const operation of this.#timeline.readers.get(this.#state.revision) ?? []) {
      const { output } = applyKv(this.#state, operation.input);
      const found = difference(operation.output, output, "answer");
      if (found !== null) return this.#mismatch(operation, found);
    }
    return null;
  }

  #undoLast(): void {
    this.#write(this.#undo.pop() as KvChanges);
    this.#state.revision--;
  }

  #write(changes: KvChanges): void {
    for (const [key, record] of changes) {
      if (record === null) this.#state.records.delete(key);
      else this.#state.records.set(key, record);
    }
  }

  #mismatch(operation: KvOperation, found: string): BrokenRule {
    const blamed = this.#choices.length;
    const open = blamed === 0 ? "" : `, after ${blamed} revisions of unknown operations`;
    const detail = `${found}${open}\n${showOperation(operation)}`;
    return new BrokenRule("answers match the state at their revision", detail);
  }

  #collectSeen(): void {
    const { initial, writers, readers } = this.#timeline;
    for (const operation of [...writers.values(), ...[...readers.values()].flat()]) {
      const { input, output } = operation;
      if (output === undefined) continue;
      for (const [i, { key }] of carriedOut(input, output.succeeded).entries()) {
        const result = output.results[i];
        if (typeof result !== "object" || result === null) continue;
        const { modRevision } = result;
        const sightings = this.#sightings.get(key) ?? [];
        this.#sightings.set(key, sightings);
        sightings.push({ at: output.revision, modRevision });
        if (modRevision <= initial.revision || writers.has(modRevision)) continue;
        const seen = this.#seen.get(modRevision);
        if (seen === undefined) this.#seen.set(modRevision, new Map([[key, result]]));
        else seen.set(key, result);
      }
    }
  }

  #pinSuspects(): void {
    for (const sightings of this.#sightings.values()) sightings.sort((a, b) => a.at - b.at);
    const { suspects, writers } = this.#timeline;
    /** For each value of a key the suspect that alone may put it there, or -1 when others may too. */
    const onlyPut = new Map<string, number>();
    const note = ({ input }: KvOperation, suspect: number): void => {
      const simple = input.kind === "txn" ? [...input.success, ...input.failure] : [input];
      for (const operation of simple) {
        if (operation.kind !== "put") continue;
        const name = JSON.stringify([operation.key, operation.value]);
        onlyPut.set(name, onlyPut.has(name) ? -1 : suspect);
      }
    };
    for (const writer of writers.values()) note(writer, -1);
    for (const [i, { operation }] of suspects.entries()) note(operation, i);
    for (const [revision, records] of this.#seen) {
      for (const [key, { value }] of records) {
        const suspect = onlyPut.get(JSON.stringify([key, value])) ?? -1;
        if (suspect >= 0) this.#pinnedTo.set(suspect, revision);
      }
    }
  }
}

/** Keys that were not there before and are not there afterwards were not changed. */
function isTheSame(
  changes: KvChanges,
  known: ReadonlyMap<string, string | null> | undefined,
): boolean {
  if (changes.size !== (known?.size ?? 0)) return false;
  for (const [key, record] of changes)
    if (known?.has(key) !== true || known.get(key) !== (record?.value ?? null)) return false;
  return true;
}
