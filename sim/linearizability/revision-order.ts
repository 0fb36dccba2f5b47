/**
 * Checks a history of a store whose answers carry revisions, in O(n log n) where checker.ts would have to search:
 * the revisions already tell the order. (Herlihy and Wing 1990 ask that some order exists; one that is given has
 * merely to be verified.) Four rules:
 *
 * 1. A revision is given once: two changes never share one.
 * 2. Revisions follow real time: an operation never has a lower revision than one that ended before it began, and a
 *    change has a higher one. With rule 1 this makes revision order, reads behind the change that they see, an order
 *    that real time agrees with.
 * 3. Replaying the changes in this order gives each change and each read the very answer that it got.
 * 4. Every revision up to the highest that anybody saw was made by an operation of the history. What was not
 *    acknowledged must have been one whose outcome is unknown, and begun early enough for rule 2.
 *
 * The first two are checked by revision-timeline.ts, the others by revision-replay.ts. Whatever else changes the store, such as the end
 * of a lease, must stand in the history as an unknown operation.
 */
import { KV_EMPTY, type KvState } from "./kv-model.ts";
import { Replay } from "./revision-replay.ts";
import {
  BrokenRule,
  type KvOperation,
  type RevisionChanges,
  type RevisionRule,
  timelineOf,
} from "./revision-timeline.ts";

export interface RevisionOptions {
  /** The store when the history began. */
  readonly initial?: KvState;
  /**
   * What each revision did to which key, where somebody has read that: its new value, or null where it was deleted. Then
   * nearly nothing is left to be searched for. It must be complete.
   */
  readonly changes?: RevisionChanges;
  /** Changes that may be replayed, repetitions included. */
  readonly stepsMax?: number;
}

export type RevisionVerdict =
  | { readonly kind: "linearizable"; readonly steps: number }
  | { readonly kind: "not-linearizable"; readonly rule: RevisionRule; readonly explanation: string }
  /** Callers treat it as a failure. */
  | { readonly kind: "undecided"; readonly explanation: string };

/** Changes that are replayed for each operation when the caller names no bound. */
const STEPS_PER_OPERATION_MAX = 100;

/** The answer does not depend on the order of `history`. Refused operations are left out. */
export function checkRevisionOrder(
  history: readonly KvOperation[],
  options: RevisionOptions = {},
): RevisionVerdict {
  const stepsMax = options.stepsMax ?? STEPS_PER_OPERATION_MAX * (history.length + 1);
  try {
    const timeline = timelineOf(history, options.initial ?? KV_EMPTY);
    const { steps, stuck } = new Replay(timeline, stepsMax, options.changes ?? null).run();
    if (stuck === null) return { kind: "linearizable", steps };
    const explanation = `undecided after ${steps} steps, with the furthest contradiction ${stuck}`;
    return { kind: "undecided", explanation };
  } catch (error) {
    if (!(error instanceof BrokenRule)) throw error;
    return { kind: "not-linearizable", rule: error.rule, explanation: error.message };
  }
}
