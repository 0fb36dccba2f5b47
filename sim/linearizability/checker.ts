/**
 * Decides whether a history of concurrent operations is linearizable: whether all operations can be put in one order
 * that a model of one machine explains, and in which no operation stands before one that had ended when it began
 * (Herlihy and Wing, "Linearizability: a correctness condition for concurrent objects", 1990).
 *
 * The search is that of Wing and Gong ("Testing and verifying concurrent objects", 1993): take any operation that
 * may come next, ask the model, go on, and step back when nothing fits. Lowe ("Testing for linearizability", 2017)
 * made it fit for use: a configuration that was met before is not searched again (visited.ts), and a history whose parts touch
 * different objects is linearizable exactly when each part is (the locality theorem of 1990), so keys are searched
 * one by one.
 *
 * Three more cuts, each of which leaves the verdict as it is:
 * - An answered operation that can never change any state is taken as soon as it fits. In any order in which it
 *   stands later it could be moved here, and nothing else would notice.
 * - An operation with unknown outcome may be left out for good, so it is tried last, and only where it changes the
 *   state. If it never does, it never mattered.
 * - Of open operations that ask for the same thing the one that began first goes first: it can stand wherever the
 *   others can.
 *
 * The work is bounded by steps of the model. When they are used up, or the caller's deadline says so, the verdict is
 * `undecided`; whoever relies on a check must treat that as a failure. Memory is bounded by the cache: when it is
 * full it is emptied, which costs repeated work and no correctness. There is no clock and no chance in here.
 */
import { explainBlocked } from "./explanation.ts";
import type { Operation } from "./history.ts";
import { Pending } from "./pending.ts";
import { Visited } from "./visited.ts";

/** One machine that carries out operations one after the other. States are values: `step` never changes one. */
export interface Model<State, Input, Output> {
  readonly name: string;
  init(): State;
  /**
   * The states in which the machine may be afterwards: none where it could not have given this answer, several where
   * it is free to choose. `output` is undefined when nobody saw the answer; then any answer will do.
   */
  step(state: State, input: Input, output: Output | undefined): readonly State[];
  /** Equal for equal states, and only for them. */
  identity(state: State): string | number;
  /** True only if the operation, with this answer, leaves every state as it is. */
  isReadOnly(input: Input, output: Output | undefined): boolean;
  /** The object that an operation touches, when the machine consists of independent ones. */
  partition?(input: Input): string;
  describe(input: Input, output: Output | undefined): string;
  describeState(state: State): string;
}

export interface CheckOptions {
  /** Calls of `Model.step` over the whole history. */
  readonly stepsMax?: number;
  /** Configurations that are remembered at a time. */
  readonly cacheEntriesMax?: number;
  /** Asked now and then; true ends the search undecided. */
  readonly isOverdue?: () => boolean;
}

export type Verdict =
  | { readonly kind: "linearizable"; readonly steps: number }
  | {
      readonly kind: "not-linearizable";
      readonly steps: number;
      /** For people: the order that got furthest, and why the blocked operation does not fit after it. */
      readonly explanation: string;
      /**
       * The operation whose end makes the history impossible: what began before that end is a history without an
       * order, while everything that ended earlier has one.
       */
      readonly blockedId: number;
      /** Ids of the order that got furthest, in its part of the history. */
      readonly order: readonly number[];
    }
  | { readonly kind: "undecided"; readonly steps: number; readonly explanation: string };

const STEPS_MAX = 10_000_000;
const CACHE_ENTRIES_MAX = 500_000;
const STEPS_BETWEEN_DEADLINES = 1024;
/** The first round may use one of so many shares of all steps. */
const EARLY_SHARES = 4;

/**
 * Refused operations have not happened and are left out. The answer does not depend on the order of `history`. A
 * violation in one part outweighs a part that could not be decided.
 */
export function checkLinearizability<State, Input, Output>(
  model: Model<State, Input, Output>,
  history: readonly Operation<Input, Output>[],
  options: CheckOptions = {},
): Verdict {
  const parts = new Map<string, Operation<Input, Output>[]>();
  for (const operation of history) {
    const { input, output, outcome } = operation;
    if (outcome === "fail") continue;
    if (outcome === "unknown" && model.isReadOnly(input, output)) continue;
    const name = model.partition?.(input) ?? "";
    const part = parts.get(name);
    if (part === undefined) parts.set(name, [operation]);
    else part.push(operation);
  }
  const budget = new Budget(options);
  // A part that is hard to decide must not use up what finds a violation in another: each first gets a small share.
  const share = Math.floor(budget.stepsMax / (EARLY_SHARES * parts.size));
  for (const granted of parts.size > 1 ? [share, budget.stepsMax] : [budget.stepsMax]) {
    for (const [name, part] of parts) {
      budget.grant(granted);
      const verdict = new Search(model, name, part, budget).run();
      if (verdict.kind === "not-linearizable") return verdict;
      if (verdict.kind === "linearizable") parts.delete(name);
      else if (granted === budget.stepsMax) return verdict;
    }
  }
  return { kind: "linearizable", steps: budget.steps };
}

/** What all parts of a history share. */
class Budget {
  steps = 0;
  readonly stepsMax: number;
  readonly cacheEntriesMax: number;
  readonly #isOverdue: () => boolean;
  /** Where the present grant ends. */
  #limit = 0;
  #isOver = false;

  constructor(options: CheckOptions) {
    this.stepsMax = options.stepsMax ?? STEPS_MAX;
    this.cacheEntriesMax = options.cacheEntriesMax ?? CACHE_ENTRIES_MAX;
    this.#isOverdue = options.isOverdue ?? ((): boolean => false);
  }

  /** What the next search may use. */
  grant(steps: number): void {
    this.#limit = Math.min(this.stepsMax, this.steps + steps);
  }

  /** False when there is nothing left to spend. */
  spend(): boolean {
    if (this.steps % STEPS_BETWEEN_DEADLINES === 0 && this.#isOverdue()) this.#isOver = true;
    if (this.#isOver || this.steps >= this.#limit) return false;
    this.steps++;
    return true;
  }
}

/** A place where the search can come back to: `successors[next]` is what it tries then. */
interface Frame<State> {
  readonly state: State;
  readonly candidate: number;
  readonly successors: readonly State[];
  next: number;
  /** No other operation has to be tried in this place. */
  readonly isForced: boolean;
}

/** The depth-first search over one part of a history. */
class Search<State, Input, Output> {
  readonly #model: Model<State, Input, Output>;
  readonly #name: string;
  readonly #budget: Budget;
  readonly #pending: Pending<Input, Output>;
  readonly #frames: Frame<State>[] = [];
  readonly #visited: Visited;
  #state: State;
  /** The operation that no order gets past, as far as is known: of those that ended first somewhere, the last. */
  #blocked = -1;
  /** An order that gets there and its state; not copied yet while the search is still going on from it. */
  #furthest: { readonly order: readonly number[]; readonly state: State };
  #isFurthestCopied = false;

  constructor(
    model: Model<State, Input, Output>,
    name: string,
    part: readonly Operation<Input, Output>[],
    budget: Budget,
  ) {
    this.#model = model;
    this.#name = name;
    this.#budget = budget;
    this.#pending = new Pending(part);
    this.#visited = new Visited(budget.cacheEntriesMax);
    this.#state = model.init();
    this.#furthest = { order: [], state: this.#state };
  }

  run(): Verdict {
    this.#remember();
    let candidate = this.#pending.firstCandidate();
    while (!this.#pending.isDone()) {
      if (candidate === null) {
        const resumed = this.#stepBack();
        if (resumed === null) return this.#verdict();
        candidate = resumed.isForced ? null : this.#pending.candidateAfter(resumed.candidate);
        if (this.#tryNext(resumed)) candidate = this.#pending.firstCandidate();
        continue;
      }
      const frame = this.#frameOf(candidate);
      if (frame === "spent") return this.#undecided();
      if (frame !== null && this.#tryNext(frame)) candidate = this.#pending.firstCandidate();
      else if (frame?.isForced === true) candidate = null;
      else candidate = this.#pending.candidateAfter(candidate);
    }
    return { kind: "linearizable", steps: this.#budget.steps };
  }

  /** What may follow if `candidate` comes next, or null if it cannot. */
  #frameOf(candidate: number): Frame<State> | "spent" | null {
    const operation = this.#pending.operation(candidate);
    if (!this.#budget.spend()) return "spent";
    const state = this.#state;
    const { input, output } = operation;
    let successors = this.#model.step(state, input, output);
    if (operation.outcome === "unknown") {
      const unchanged = this.#model.identity(state);
      successors = successors.filter((next) => this.#model.identity(next) !== unchanged);
    }
    if (successors.length === 0) return null;
    return {
      state,
      candidate,
      successors,
      next: 0,
      isForced: this.#model.isReadOnly(input, output),
    };
  }

  /** Takes the frame's operation into the order with the next successor that leads to something new. */
  #tryNext(frame: Frame<State>): boolean {
    this.#pending.take(frame.candidate);
    while (frame.next < frame.successors.length) {
      this.#state = frame.successors[frame.next++] as State;
      const answered = `${this.#pending.answeredIdentity()}|${this.#model.identity(this.#state)}`;
      if (!this.#visited.enter(answered, this.#pending.openTaken())) continue;
      this.#frames.push(frame);
      this.#remember();
      return true;
    }
    this.#pending.putBack(frame.candidate);
    this.#state = frame.state;
    return false;
  }

  /** Undoes the last step, or tells with null that there is none. */
  #stepBack(): Frame<State> | null {
    this.#copyFurthest();
    const frame = this.#frames.pop();
    if (frame === undefined) return null;
    this.#pending.putBack(frame.candidate);
    this.#state = frame.state;
    return frame;
  }

  #remember(): void {
    const first = this.#pending.firstToEnd();
    if (first === null) return;
    if (this.#blocked >= 0 && !this.#pending.endsAfter(first, this.#blocked)) return;
    this.#blocked = first;
    this.#isFurthestCopied = false;
  }

  #copyFurthest(): void {
    if (this.#isFurthestCopied) return;
    this.#isFurthestCopied = true;
    let length = this.#frames.length;
    let state = this.#state;
    // Open operations at the end were tried in vain, and would only distract.
    for (; length > 0; length--) {
      const last = this.#frames[length - 1] as Frame<State>;
      if (this.#pending.operation(last.candidate).outcome === "ok") break;
      state = last.state;
    }
    const order = this.#frames.slice(0, length).map((frame) => frame.candidate);
    this.#furthest = { order, state };
  }

  #verdict(): Verdict {
    const { order, state } = this.#furthest;
    const blocked = this.#blocked;
    const operations = order.map((candidate) => this.#pending.operation(candidate));
    const culprit = this.#pending.operation(blocked);
    const overlapping = this.#pending.overlapping(order, blocked);
    return {
      kind: "not-linearizable",
      steps: this.#budget.steps,
      explanation: explainBlocked(this.#model, this.#name, operations, state, culprit, overlapping),
      blockedId: culprit.id,
      order: operations.map((operation) => operation.id),
    };
  }

  #undecided(): Verdict {
    const { steps } = this.#budget;
    const where = this.#name === "" ? "" : ` of "${this.#name}"`;
    const explanation = `undecided: the history${where} was still being searched after ${steps} steps`;
    return { kind: "undecided", steps, explanation };
  }
}
