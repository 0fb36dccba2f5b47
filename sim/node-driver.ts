/** A node on a simulated machine as the worlds drive it: event by event, until something has come to its end. */
import { HarmonyError } from "../src/base/index.ts";
import {
  type Database,
  type Node,
  type NodeOptions,
  openNode,
  type WatchEvent,
  type WatchRequest,
} from "../src/db/index.ts";
import { FileError, runIo } from "../src/env/index.ts";
import type { SimEnv } from "../src/env/sim/index.ts";
import type { Observed } from "./oracle-compare.ts";
import { check, Violation } from "./violation.ts";

/** Far more than any opening or closing of the simulator's small directories takes. */
const EVENTS_MAX = 400_000;
/** A start that takes longer waits for something that does not come by itself. */
const OPENING_MS = 20_000;

/** Lets time pass until `isOver`, or until the process has ended. */
export function drive(machine: SimEnv, what: string, isOver: () => boolean): void {
  for (let events = 0; !isOver() && machine.running; events++) {
    check(
      events < EVENTS_MAX && machine.scheduler.step(),
      `${what} comes to an end`,
      () => `nothing more after ${events} events`,
    );
  }
}

/**
 * The node, the error that it refused with, or null when its process ended on the way. `onLate` hears of a start that
 * does not come to its end: on a full disk it waits for room.
 */
export function tryToOpen(
  machine: SimEnv,
  options: NodeOptions,
  onFatal: (error: HarmonyError) => void = () => {},
  onLate: () => void = () => {},
): Node | Error | null {
  const outcome: { isOver: boolean; error: unknown; node: Node | undefined } = {
    isOver: false,
    error: null,
    node: undefined,
  };
  runIo(openNode(machine.boot(), options), (error, node) => {
    outcome.isOver = true;
    outcome.error = error;
    outcome.node = node;
  });
  const lateMs = machine.scheduler.nowMs + OPENING_MS;
  let isLate = false;
  drive(machine, "an opening", () => {
    if (!isLate && machine.scheduler.nowMs > lateMs) {
      isLate = true;
      onLate();
    }
    return outcome.isOver;
  });
  if (!machine.running || !outcome.isOver) return null;
  const { error, node } = outcome;
  if (error === null) {
    (node as Node).onFatal(onFatal);
    return node as Node;
  }
  if (error instanceof HarmonyError || error instanceof FileError) return error;
  throw error;
}

/** Opens a directory that must open: after a crash a node refuses nothing that a crash can leave. */
export function open(machine: SimEnv, options: NodeOptions): Node {
  const node = tryToOpen(machine, options);
  if (node === null)
    throw new Violation("a directory opens again after a crash", "the process ended");
  if (node instanceof Error)
    throw new Violation("a directory opens again after a crash", `${node.stack}`);
  return node;
}

/** True when the node has closed, false when its process ended before. */
export function close(machine: SimEnv, node: Node): boolean {
  let isOver = false;
  runIo(node.close(), (error) => {
    if (error !== null) throw error as Error;
    isOver = true;
  });
  drive(machine, "a close", () => isOver);
  return isOver;
}

/** The database as it stands, without letting time pass: a local read is answered in the call. */
export function observe(database: Database): Observed {
  const { revision, compactRevision } = database.status();
  return {
    revision,
    compactRevision,
    range: (request) =>
      inCall((reply) => database.range({ ...request, serializable: true }, {}, reply)),
    leases: () => inCall((reply) => database.leases({}, reply)),
    leaseStatus: (id) => inCall((reply) => database.leaseStatus(id, true, {}, reply)),
    eventsFrom: (first) => eventsFrom(database, first),
  };
}

const ZERO = new Uint8Array(1);
/** Every change of every key. */
export const ALL_CHANGES: Omit<WatchRequest, "startRevision"> = {
  key: ZERO,
  rangeEnd: ZERO,
  prevKv: false,
  noPut: false,
  noDelete: false,
};
export const MANY_BYTES = 1_000_000_000;

export function eventsFrom(
  database: Database,
  from: number,
): { readonly first: number; readonly events: readonly WatchEvent[] } {
  const events: WatchEvent[] = [];
  const watch = database.watch({ ...ALL_CHANGES, startRevision: from }, () => {});
  for (;;) {
    const news = watch.take(MANY_BYTES);
    if (news?.kind === "failed") throw news.error;
    if (news?.kind === "compacted") return eventsFrom(database, news.compactRevision);
    if (news !== null) events.push(...news.events);
    else if (watch.isSynced) break;
  }
  watch.cancel();
  return { first: from, events };
}

function inCall<T>(ask: (reply: (error: HarmonyError | null, value: T) => void) => void): T {
  let answer: { readonly value: T } | null = null;
  ask((error, value) => {
    if (error !== null) throw error;
    answer = { value };
  });
  check(
    answer !== null,
    "a node that is ready answers reads at once",
    () => "no answer in the call",
  );
  return (answer as { readonly value: T }).value;
}
