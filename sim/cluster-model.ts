/** The machine of the cluster world as a client may imagine it: one key is one register, counter or list. */
import type { OpKind } from "./cluster-machine.ts";
import type { Model } from "./linearizability/checker.ts";

export type ClientInput = {
  readonly kind: OpKind;
  readonly key: number;
  readonly a: number;
  readonly b: number;
};
export type ClientOutput = { readonly ok: boolean; readonly value: number | readonly number[] };

/** A number, or what was appended. */
type State = number | readonly number[];

const NOWHERE: readonly never[] = [];

export const CLUSTER_MODEL: Model<State, ClientInput, ClientOutput> = {
  name: "registers, counters and lists",
  init: () => 0,
  step(state, input, output) {
    const { next, answer } = run(state, input);
    return output === undefined || isEqual(answer, output) ? [next] : NOWHERE;
  },
  identity: (state) => (typeof state === "number" ? state : state.join(",")),
  isReadOnly: ({ kind }, output) => kind === "read" || (kind === "cas" && output?.ok === false),
  partition: ({ key }) => String(key),
  describe: ({ kind, key, a, b }, output) =>
    `${kind} key ${key} ${a} ${b}: ${output === undefined ? "?" : JSON.stringify(output)}`,
  describeState: (state) => JSON.stringify(state),
};

function run(state: State, { kind, a, b }: ClientInput): { next: State; answer: ClientOutput } {
  switch (kind) {
    case "put":
      return { next: a, answer: { ok: true, value: a } };
    case "cas":
      return state === a
        ? { next: b, answer: { ok: true, value: b } }
        : { next: state, answer: { ok: false, value: state } };
    case "add": {
      const next = (typeof state === "number" ? state : 0) + a;
      return { next, answer: { ok: true, value: next } };
    }
    case "append": {
      const next = [...(typeof state === "number" ? [] : state), a];
      return { next, answer: { ok: true, value: next.length } };
    }
    case "read":
      return { next: state, answer: { ok: true, value: state } };
  }
}

/** An empty list and the number 0 are the same: nothing was written. */
function isEqual(a: ClientOutput, b: ClientOutput): boolean {
  if (a.ok !== b.ok) return false;
  const left = typeof a.value === "number" && a.value === 0 ? [] : a.value;
  const right = typeof b.value === "number" && b.value === 0 ? [] : b.value;
  if (typeof left === "number" || typeof right === "number") return left === right;
  return left.length === right.length && left.every((value, i) => value === right[i]);
}
