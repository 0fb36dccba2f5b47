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

/** How many events a failure shows. */
const KEPT_EVENTS = 200;

export class Trace {
  readonly #kept: number;
  #ring: TraceEvent[] = [];
  #count = 0;
  #hash = 0;

  /** `kept`: only so many of the last events are remembered. */
  constructor(kept: number = KEPT_EVENTS) {
    this.#kept = kept;
  }

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
    if (this.#ring.length < this.#kept) this.#ring.push(event);
    else this.#ring[(this.#count - 1) % this.#kept] = event;
  }

  operation(timeMs: number, operation: Operation, ordinal: number): void {
    const { kind } = operation;
    const place = kind === "write" || kind === "read" ? operation.offset : 0;
    const content = kind === "write" ? sample(operation.bytes) : 0;
    this.event(timeMs, kind, hash32(ordinal, place, content), operation);
  }

  lines(last = this.#kept): string[] {
    return this.#ring
      .toSorted((a, b) => a.number - b.number)
      .slice(-last)
      .map(({ number, timeMs, what, detail }) => {
        const text = describe(detail);
        return `#${number} ${timeMs.toFixed(2)} ms ${what}${text === "" ? "" : ` ${text}`}`;
      });
  }
}

/** Length and some bytes of what is written: two runs that write different things differ here soon. */
function sample(bytes: Uint8Array): number {
  let hash = bytes.length;
  const step = (bytes.length >>> 4) + 1;
  for (let i = 0; i < bytes.length; i += step) hash = (Math.imul(hash, 31) + (bytes[i] ?? 0)) | 0;
  return hash;
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
