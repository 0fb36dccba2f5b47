/**
 * The small machines that clients of a database can be checked against (checker.ts): a register with
 * compare-and-set, a counter, a list that only grows, a lock with fencing tokens. Each stands for one key, and a
 * history of many keys is searched key by key. Inputs and outputs are plain JSON values, as histories need them.
 */
import type { Model } from "./checker.ts";

export type RegisterValue = string | number | null;

export type RegisterInput =
  | { readonly kind: "read"; readonly key: string }
  | { readonly kind: "write"; readonly key: string; readonly value: RegisterValue }
  | {
      readonly kind: "cas";
      readonly key: string;
      readonly expected: RegisterValue;
      readonly value: RegisterValue;
    };

/** A read gives the value, a compare-and-set whether it happened, a write null. */
export type RegisterOutput = RegisterValue | boolean;

/** Starts as null: nothing was ever written. */
export const registerModel: Model<RegisterValue, RegisterInput, RegisterOutput> = {
  name: "register",
  init: () => null,
  step(state, input, output) {
    switch (input.kind) {
      case "read":
        return output === undefined || output === state ? [state] : [];
      case "write":
        return output === undefined || output === null ? [input.value] : [];
      case "cas": {
        const holds = state === input.expected;
        if (output !== undefined && output !== holds) return [];
        return [holds ? input.value : state];
      }
    }
  },
  identity: (state) => (typeof state === "string" ? `"${state}` : String(state)),
  isReadOnly: (input, output) =>
    input.kind === "read" || (input.kind === "cas" && output === false),
  partition: (input) => input.key,
  describe: ({ kind, ...operands }, output) => describe(kind, operands, output),
  describeState: (state) => JSON.stringify(state),
};

export type CounterInput =
  | { readonly kind: "incr"; readonly key: string; readonly by: number }
  | { readonly kind: "read"; readonly key: string };

/** Both operations give the value after them. Starts at 0. */
export const counterModel: Model<number, CounterInput, number> = {
  name: "counter",
  init: () => 0,
  step(state, input, output) {
    const after = input.kind === "incr" ? state + input.by : state;
    return output === undefined || output === after ? [after] : [];
  },
  identity: (state) => state,
  isReadOnly: (input) => input.kind === "read" || input.by === 0,
  partition: (input) => input.key,
  describe: ({ kind, ...operands }, output) => describe(kind, operands, output),
  describeState: String,
};

export type ListInput =
  | { readonly kind: "append"; readonly key: string; readonly value: string | number }
  | { readonly kind: "read"; readonly key: string };

/** A read gives the list, an append the length after it, or null from a client that does not learn it. */
export type ListOutput = readonly (string | number)[] | number | null;

interface ListState {
  readonly length: number;
  /** The elements as JSON, each followed by a comma: a value that says all, and that is quickly compared. */
  readonly text: string;
}

/** Starts empty. */
export const listModel: Model<ListState, ListInput, ListOutput> = {
  name: "list",
  init: () => ({ length: 0, text: "" }),
  step(state, input, output) {
    if (input.kind === "read") {
      if (output === undefined) return [state];
      return Array.isArray(output) && listText(output) === state.text ? [state] : [];
    }
    const length = state.length + 1;
    if (output !== undefined && output !== null && output !== length) return [];
    return [{ length, text: state.text + listText([input.value]) }];
  },
  identity: (state) => state.text,
  isReadOnly: (input) => input.kind === "read",
  partition: (input) => input.key,
  describe: ({ kind, ...operands }, output) => describe(kind, operands, output),
  describeState: (state) => `[${state.text.slice(0, -1)}]`,
};

function listText(elements: readonly unknown[]): string {
  return elements.map((element) => `${JSON.stringify(element)},`).join("");
}

export type LockInput =
  | { readonly kind: "acquire"; readonly key: string; readonly owner: string }
  | { readonly kind: "release"; readonly key: string; readonly owner: string };

/** An acquisition gives the fencing token, or null if the lock was held; a release whether the owner held it. */
export type LockOutput = number | null | boolean;

interface LockState {
  readonly owner: string | null;
  /** The highest fencing token that anybody has seen, 0 before the first. */
  readonly fence: number;
}

/**
 * A lock that is not reentrant: an owner that asks again while it holds the lock is refused as anybody else is. Each
 * token must be higher than all before it, whoever got them. With `expires` the lock may also end by itself at any
 * moment, as one with a time to live does, so that only the order of the tokens and the answers of those who do not
 * hold it are still promised.
 */
export function lockModel(expires: boolean): Model<LockState, LockInput, LockOutput> {
  return {
    name: expires ? "lock that may expire" : "lock",
    init: () => ({ owner: null, fence: 0 }),
    step(state, input, output) {
      const after = lockStep(state, input, output);
      if (!expires || state.owner === null) return after;
      const expired = { owner: null, fence: state.fence };
      return [...after, ...lockStep(expired, input, output)];
    },
    identity: (state) => `${state.fence} ${state.owner === null ? "" : `"${state.owner}`}`,
    isReadOnly: (_, output) => output === null || (!expires && output === false),
    partition: (input) => input.key,
    describe: ({ kind, ...operands }, output) => describe(kind, operands, output),
    describeState: ({ owner, fence }) =>
      `${owner === null ? "free" : `held by ${owner}`}, highest token ${fence}`,
  };
}

function lockStep(
  state: LockState,
  input: LockInput,
  output: LockOutput | undefined,
): readonly LockState[] {
  if (input.kind === "release") {
    const isHeld = state.owner === input.owner;
    if (output !== undefined && output !== isHeld) return [];
    return [isHeld ? { owner: null, fence: state.fence } : state];
  }
  if (state.owner !== null) return output === undefined || output === null ? [state] : [];
  if (output === undefined) return [{ owner: input.owner, fence: state.fence }];
  if (typeof output !== "number" || output <= state.fence) return [];
  return [{ owner: input.owner, fence: output }];
}

function describe(kind: string, operands: object, output: unknown): string {
  const shown = Object.values(operands).map((operand) => JSON.stringify(operand));
  const answer = output === undefined ? "no answer" : JSON.stringify(output);
  return `${kind} ${shown.join(" ")} -> ${answer}`;
}
