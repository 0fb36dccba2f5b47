/**
 * What concurrent clients did and saw: the input of every check in this folder.
 *
 * An operation lasts from its invocation to its answer, and a correct system seems to carry it out at one moment in
 * between (Herlihy and Wing, "Linearizability", 1990). Three things can become of it: an answer (`ok`), a refusal
 * that proves that nothing happened (`fail`), or neither (`unknown`: a timeout, a lost connection, a killed server).
 * The last kind may take effect at any later time or never, so it ends at infinity.
 *
 * Times are numbers of the caller: microseconds of a clock that all clients share, or event numbers of a simulator.
 * Two operations of which one ends at the very time at which the other begins count as concurrent: a coarse clock
 * can hide a violation, but it never invents one. The process is a name for the reader; order comes from times alone.
 *
 * On disk a history is newline-delimited JSON, one event a line, written as it happens. A writer that makes the
 * invocation durable before it sends the request may be killed at any moment: its open operations are unknown.
 */
import { assert, HarmonyError } from "../../src/base/index.ts";

export interface Operation<Input, Output> {
  /** Counts invocations from 0. */
  readonly id: number;
  readonly process: number;
  readonly input: Input;
  readonly outcome: "ok" | "fail" | "unknown";
  /** Present exactly when the outcome is `ok`. */
  readonly output: Output | undefined;
  readonly invokedAt: number;
  /** Never before `invokedAt`; infinite exactly when the outcome is unknown. */
  readonly returnedAt: number;
}

/** One line of a history. An answer names the invocation that it belongs to. */
type HistoryEvent<Input, Output> =
  | { type: "invoke"; id: number; process: number; at: number; input: Input }
  | { type: "ok"; id: number; at: number; output: Output }
  | { type: "fail" | "unknown"; id: number; at: number };

/** Writes down what clients do. Inputs and outputs are plain JSON values. */
export class HistoryRecorder<Input, Output> {
  readonly #operations: Operation<Input, Output>[] = [];
  /** The invocations that have no answer yet. */
  readonly #open = new Set<number>();
  readonly #sink: (line: string) => void;

  /** `sink` gets each event as a line with its line feed, as soon as it is recorded. */
  constructor(sink: (line: string) => void = () => undefined) {
    this.#sink = sink;
  }

  /** To be called before the request is sent. Returns the id that the answer must name. */
  invoke(process: number, input: Input, at: number): number {
    assert(Number.isFinite(at), "an operation begins at a finite time");
    const id = this.#operations.length;
    this.#write({ type: "invoke", id, process, at, input });
    this.#open.add(id);
    this.#operations.push(begun(id, process, input, at));
    return id;
  }

  ok(id: number, output: Output, at: number): void {
    const operation = this.#take(id, at);
    this.#write({ type: "ok", id, at, output });
    this.#operations[id] = { ...operation, outcome: "ok", output, returnedAt: at };
  }

  /** Only for a refusal that proves that the operation has not happened and never will. */
  fail(id: number, at: number): void {
    const operation = this.#take(id, at);
    this.#write({ type: "fail", id, at });
    this.#operations[id] = { ...operation, outcome: "fail", returnedAt: at };
  }

  /** Nobody waits for an answer any more. The same as leaving the operation open, but the reader sees when. */
  unknown(id: number, at: number): void {
    this.#take(id, at);
    this.#write({ type: "unknown", id, at });
  }

  /** In order of invocation. What is still open is unknown. */
  operations(): readonly Operation<Input, Output>[] {
    return [...this.#operations];
  }

  /** An answer must be the only one of its invocation and must not come before it. */
  #take(id: number, at: number): Operation<Input, Output> {
    const operation = this.#operations[id];
    assert(operation !== undefined, `no operation ${id} was invoked`);
    assert(this.#open.delete(id), `operation ${id} is answered twice`);
    assert(Number.isFinite(at) && at >= operation.invokedAt, `operation ${id} ends too early`);
    return operation;
  }

  #write(event: HistoryEvent<Input, Output>): void {
    this.#sink(`${encodePlain(event)}\n`);
  }
}

/**
 * A value as JSON, so that reading it back gives an equal value; also a value's identity. Throws INVALID_ARGUMENT
 * for what JSON would change without a word: bytes, maps, big integers, undefined, NaN and infinities.
 */
export function encodePlain(value: unknown): string {
  return JSON.stringify(value, (name, inner: unknown) => {
    const isPlain =
      inner === null ||
      typeof inner === "string" ||
      typeof inner === "boolean" ||
      (typeof inner === "number" && Number.isFinite(inner)) ||
      Array.isArray(inner) ||
      (typeof inner === "object" && Object.getPrototypeOf(inner) === Object.prototype);
    if (!isPlain) throw invalid(`a history cannot hold the value of "${name}"`);
    return inner;
  });
}

/** The history as lines, in order of time: invocations first among events of one time. */
export function formatHistory<Input, Output>(
  operations: readonly Operation<Input, Output>[],
): string {
  const events: HistoryEvent<Input, Output>[] = [];
  for (const operation of operations) {
    const { id, process, input, outcome, output, invokedAt, returnedAt } = operation;
    events.push({ type: "invoke", id, process, at: invokedAt, input });
    if (outcome === "ok") events.push({ type: "ok", id, at: returnedAt, output: output as Output });
    else if (outcome === "fail") events.push({ type: "fail", id, at: returnedAt });
  }
  events.sort((a, b) => a.at - b.at || Number(b.type === "invoke") - Number(a.type === "invoke"));
  return events.map((event) => `${encodePlain(event)}\n`).join("");
}

/**
 * Reads a history back. Ids may be given in any order; operations come back in order of invocation with the ids of
 * the file. A last line without a line feed is what a killed writer leaves: it is dropped, which at worst turns an
 * answer into an unknown outcome. Anything else that is not a history throws INVALID_ARGUMENT and names the line.
 *
 * The types of inputs and outputs are the caller's word; models judge what they are given.
 */
export function parseHistory<Input, Output>(lines: string): Operation<Input, Output>[] {
  const operations = new Map<number, Operation<Input, Output>>();
  const open = new Set<number>();
  const all = lines.split("\n");
  all.pop();
  for (const [index, line] of all.entries()) {
    const event = parseEvent<Input, Output>(line, index + 1);
    const { id, at } = event;
    if (event.type === "invoke") {
      if (operations.has(id)) throw invalid(`line ${index + 1}: ${id} is invoked twice`);
      open.add(id);
      operations.set(id, begun(id, event.process, event.input, at));
      continue;
    }
    const operation = operations.get(id);
    if (operation === undefined) throw invalid(`line ${index + 1}: ${id} was never invoked`);
    if (!open.delete(id)) throw invalid(`line ${index + 1}: ${id} is answered twice`);
    if (at < operation.invokedAt) throw invalid(`line ${index + 1}: ${id} ends before it begins`);
    if (event.type === "unknown") continue;
    const output = event.type === "ok" ? event.output : undefined;
    operations.set(id, { ...operation, outcome: event.type, output, returnedAt: at });
  }
  return [...operations.values()].sort((a, b) => a.invokedAt - b.invokedAt || a.id - b.id);
}

/** An operation of which nothing but the invocation is known. */
function begun<Input, Output>(
  id: number,
  process: number,
  input: Input,
  invokedAt: number,
): Operation<Input, Output> {
  const nothing = { outcome: "unknown", output: undefined, returnedAt: Infinity } as const;
  return { id, process, input, invokedAt, ...nothing };
}

function parseEvent<Input, Output>(line: string, number: number): HistoryEvent<Input, Output> {
  let event: unknown;
  try {
    event = JSON.parse(line);
  } catch {
    throw invalid(`line ${number} is not JSON`);
  }
  if (typeof event !== "object" || event === null) throw invalid(`line ${number} is no event`);
  const { type, id, at, process } = event as Record<string, unknown>;
  if (!Number.isSafeInteger(id) || typeof at !== "number" || !Number.isFinite(at)) {
    throw invalid(`line ${number} has no id or no time`);
  }
  const isWhole =
    (type === "invoke" && Number.isSafeInteger(process) && "input" in event) ||
    (type === "ok" && "output" in event) ||
    type === "fail" ||
    type === "unknown";
  if (!isWhole) throw invalid(`line ${number} is no event of a history`);
  return event as HistoryEvent<Input, Output>;
}

/** One line for people: who, what, when. */
export function describeSpan<Input, Output>(operation: Operation<Input, Output>): string {
  const end = operation.outcome === "unknown" ? "?" : String(operation.returnedAt);
  return `process ${operation.process} [${operation.invokedAt}, ${end}]`;
}

function invalid(detail: string): HarmonyError {
  return new HarmonyError("INVALID_ARGUMENT", detail);
}
