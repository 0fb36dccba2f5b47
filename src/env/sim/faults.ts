/** Faults on demand: rules that name operations and say what happens to them. */
import { assert } from "../../base/index.ts";

export type OperationKind =
  | "open"
  | "size"
  | "read"
  | "write"
  | "sync"
  | "truncate"
  | "close"
  | "rename"
  | "unlink"
  | "list"
  | "mkdir"
  | "syncDir"
  | "lock"
  | "release";

/**
 * Which operations fail, and how. Operations are counted when they are asked for. Without an effect the rule only
 * counts them.
 */
export interface Fault {
  /** Any operation when absent. */
  readonly operation?: OperationKind | readonly OperationKind[];
  /** A whole path, or a test of paths. Of a rename the old one counts. */
  readonly path?: string | ((path: string) => boolean);
  /** Lets this many matching operations pass first. Default 0. */
  readonly skip?: number;
  /** Then strikes this many; Infinity for all. Default 1. */
  readonly times?: number;
  /**
   * The operation fails with this errno name. A failed sync, and a write that fails with EIO, drops its bytes:
   * readers see them, the device has any part of them, and later syncs do not write the rest. A rename, unlink,
   * mkdir or truncate that fails with EIO may have happened.
   */
  readonly error?: string;
  /** Takes this much longer; Infinity is stuck until the rule is removed. */
  readonly delayMs?: number;
  /** A write takes at most this many bytes and says so. */
  readonly shortBytes?: number;
  /** A write, or what a sync should write, is reported as done and never reaches the device. */
  readonly lost?: boolean;
  /** A write reaches the device at this offset of the file instead. Readers see it in its place until a crash. */
  readonly misdirectedTo?: number;
}

export interface InjectedFault {
  /** Matching operations so far, those that were let pass included. */
  readonly matched: number;
  /** Operations that it struck. */
  readonly struck: number;
  /** Ends the rule and lets go of what is stuck. */
  remove(): void;
}

export class FaultRules {
  readonly #rules: Rule[] = [];

  inject(fault: Fault): InjectedFault {
    assert((fault.skip ?? 0) >= 0 && (fault.times ?? 1) > 0, "a fault strikes at least once");
    const rule = new Rule(fault, (ended) => this.#rules.splice(this.#rules.indexOf(ended), 1));
    this.#rules.push(rule);
    return rule;
  }

  /** The first rule that strikes this operation. Every rule counts it. */
  match(kind: OperationKind, path: string): Rule | undefined {
    if (this.#rules.length === 0) return undefined;
    let struck: Rule | undefined;
    for (const rule of this.#rules)
      if (rule.counts(kind, path) && struck === undefined) struck = rule;
    if (struck !== undefined) struck.struck++;
    return struck;
  }
}

export class Rule implements InjectedFault {
  readonly fault: Fault;
  matched = 0;
  struck = 0;
  /** Called when the rule is removed: operations that it holds go on. */
  readonly held: (() => void)[] = [];
  readonly #onEnd: (rule: Rule) => void;
  #ended = false;

  constructor(fault: Fault, onEnd: (rule: Rule) => void) {
    this.fault = fault;
    this.#onEnd = onEnd;
  }

  counts(kind: OperationKind, path: string): boolean {
    const { operation, path: where, skip = 0, times = 1 } = this.fault;
    if (
      operation !== undefined &&
      (typeof operation === "string" ? operation !== kind : !operation.includes(kind))
    )
      return false;
    if (where !== undefined && (typeof where === "string" ? where !== path : !where(path)))
      return false;
    this.matched++;
    return this.matched > skip && this.matched <= skip + times;
  }

  remove(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onEnd(this);
    for (const go of this.held.splice(0)) go();
  }
}
