/**
 * The last events of a run, for the reader of a failure, and a hash over all of them: equal for equal runs, so that
 * a difference between two runs of one seed shows that something outside of the seed decided.
 */
import { hash32 } from "../src/base/index.ts";
import type { Operation } from "../src/env/sim/index.ts";
import { show } from "./violation.ts";

interface TraceEvent {
  readonly number: number;
  readonly timeMs: number;
  readonly what: string;
  readonly detail: unknown;
}

const KEPT_EVENTS = 200;

export class Trace {
  #ring: TraceEvent[] = [];
  #count = 0;
  #hash = 0;

  get count(): number {
    return this.#count;
  }

  get hash(): number {
    return this.#hash;
  }

  /** `number` goes into the hash; `detail` is shown when the run fails, so it must not change afterwards. */
  event(timeMs: number, what: string, number: number, detail: unknown = null): void {
    this.#count++;
    this.#hash = hash32(this.#hash, number, this.#count + what.length * 7919);
    const event = { number: this.#count, timeMs, what, detail };
    if (this.#ring.length < KEPT_EVENTS) this.#ring.push(event);
    else this.#ring[this.#count % KEPT_EVENTS] = event;
  }

  operation(timeMs: number, operation: Operation, ordinal: number): void {
    const place = operation.kind === "write" || operation.kind === "read" ? operation.offset : 0;
    this.event(timeMs, operation.kind, hash32(ordinal, place), operation);
  }

  lines(last = 60): string[] {
    return this.#ring
      .toSorted((a, b) => a.number - b.number)
      .slice(-last)
      .map(({ number, timeMs, what, detail }) => {
        const text = describe(detail);
        return `#${number} ${timeMs.toFixed(2)} ms ${what}${text === "" ? "" : ` ${text}`}`;
      });
  }
}

const SHOWN_CHARACTERS = 160;

function describe(detail: unknown): string {
  if (detail === null) return "";
  if (isOperation(detail)) {
    switch (detail.kind) {
      case "write":
        return `${detail.path} at ${detail.offset}, ${detail.bytes.length} bytes${detail.durable ? ", durable" : ""}`;
      case "rename":
        return `${detail.path} -> ${detail.to}`;
      case "truncate":
        return `${detail.path} to ${detail.sizeBytes}`;
      case "open":
      case "size":
      case "close":
      case "sync":
      case "read":
      case "unlink":
      case "list":
      case "mkdir":
      case "lock":
      case "release":
      case "syncDir":
        return detail.path;
    }
  }
  const text = typeof detail === "string" ? detail : show(detail);
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}...` : text;
}

function isOperation(detail: unknown): detail is Operation {
  return typeof detail === "object" && detail !== null && "kind" in detail && "path" in detail;
}
