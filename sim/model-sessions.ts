/**
 * Requests that may come again, on the whiteboard: a session keeps the results of its last 64 numbers, answers them
 * again, executes what is new, and refuses the rest.
 */
import { crc32c, utf8 } from "../src/base/index.ts";
import type { Outcome, Refusal, RequestId } from "../src/db/index.ts";
import type { KvModel, ModelRequest } from "./model.ts";
import { difference, show } from "./violation.ts";

export const WINDOW = 64;
export const IDLE_MS: number = 15 * 60_000;

export interface ModelSession {
  /** The group's clock had come as far when it was used for the last time. */
  readonly usedMs: number;
  readonly highest: number;
  readonly results: ReadonlyMap<number, ModelResult>;
  /** Over the results in the order in which they came: equal for sessions that answer alike. */
  readonly signature: number;
}

interface ModelResult {
  readonly request: ModelRequest;
  readonly outcome: Outcome;
}

export function openSession(model: KvModel, id: number, proposedAtMs: number): Outcome {
  if (model.sessions.has(id)) return refusal(model, "SESSION_EXISTS");
  const usedMs = clockOf(model, proposedAtMs);
  model.setSession(id, { usedMs, highest: 0, results: new Map(), signature: 0 });
  return { kind: "sessionOpen", revision: model.revision, session: id };
}

export function closeSession(model: KvModel, id: number): Outcome {
  const closed = model.sessions.has(id);
  model.setSession(id, null);
  return { kind: "sessionClose", revision: model.revision, closed };
}

export function applyOnce(
  model: KvModel,
  request: ModelRequest,
  { session: id, number }: RequestId,
  proposedAtMs: number,
): Outcome {
  const session = model.sessions.get(id);
  if (session === undefined || number <= session.highest - WINDOW)
    return refusal(model, "REQUEST_EXPIRED");
  const known = session.results.get(number);
  if (known !== undefined) {
    if (difference(known.request, request) !== null) return refusal(model, "REQUEST_EXPIRED");
    model.setSession(id, { ...session, usedMs: clockOf(model, proposedAtMs) });
    return known.outcome;
  }
  const outcome = model.apply(request, proposedAtMs);
  const highest = Math.max(session.highest, number);
  const results = new Map([...session.results].filter(([old]) => old > highest - WINDOW));
  results.set(number, { request, outcome });
  const usedMs = clockOf(model, proposedAtMs);
  const signature = signed(session.signature, number, outcome);
  model.setSession(id, { usedMs, highest, results, signature });
  return outcome;
}

/** The whole answer counts, for whoever asks again is given it: a refusal and a success may have one revision. */
function signed(before: number, number: number, outcome: Outcome): number {
  const bytes = utf8(`${number} ${show(outcome)}`);
  return crc32c(bytes, 0, bytes.length, before);
}

/** The group's clock had come as far, at least, when the command was applied. */
function clockOf({ stampMs, times }: KvModel, proposedAtMs: number): number {
  return Math.max(stampMs, times.lowMs(proposedAtMs));
}

/** Sessions that nobody may have used for so long that they have ended. */
export function* endedSessions(model: KvModel): Generator<number, void, void> {
  for (const [id, { usedMs }] of model.sessions)
    if (usedMs + IDLE_MS <= model.times.highMs()) yield id;
}

/** Of what no read shows: equal for models whose sessions answer alike, with the same settings. */
export function hiddenName(model: KvModel): string {
  let name = `${model.quotaBytes} ${model.retentionRevisions} `;
  for (const [id, { highest, signature }] of model.sessions)
    name += `${id}:${highest}:${signature} `;
  return name;
}

/**
 * Too large to be kept: the second answer says that it is done, and in which revision. How long a result is in bytes is
 * known here only about.
 */
export function isTooLargeToKeep(outcome: Outcome): boolean {
  return weightOf(outcome) > 600;
}

function weightOf(value: unknown): number {
  if (value instanceof Uint8Array) return value.length + 2;
  if (typeof value === "bigint") return 8;
  if (typeof value !== "object" || value === null) return 5;
  let sum = 0;
  for (const inner of Object.values(value)) sum += weightOf(inner);
  return sum;
}

function refusal(model: KvModel, code: Refusal["code"]): Outcome {
  return { kind: "error", code, revision: model.revision, detail: null };
}
