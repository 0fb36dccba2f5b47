/**
 * HarmonyDB's own commands on the whiteboard: conditions, counters, locks, and many keys at once, each in one revision.
 *
 * The whiteboard has no clock. Each request for a lock has a longer TTL than all before it, so its deadline is later,
 * and it makes a revision.
 */
import type { Condition, NativeRequest, Outcome, Refusal } from "../src/db/index.ts";
import type { KvModel } from "./model.ts";
import { keyText } from "./model.ts";
import { SOME_MS, sameBytes } from "./violation.ts";

/** The commands that the workload sends. Of time only locks know, and theirs do not end within a run. */
export type TimelessRequest = Extract<
  NativeRequest,
  { readonly kind: "set" | "incr" | "append" | "mset" | "mdel" | LockKind }
>;

export type LockKind = "lock" | "unlock" | "extendLock";
export type LockingRequest = Extract<NativeRequest, { readonly kind: LockKind }>;

const INT64_MAX = 0x7fff_ffff_ffff_ffffn;
const INT64_MIN: bigint = -INT64_MAX - 1n;

export function applyNative(model: KvModel, request: TimelessRequest): Outcome {
  switch (request.kind) {
    case "set": {
      const key = keyText(request.key);
      if (model.isLocked(key)) return refusal(model, "LOCKED");
      const prevKv = request.prevKv ? model.keyValueOf(key) : null;
      const succeeded = request.condition === null || holds(model, key, request.condition);
      if (succeeded)
        model.inOneRevision((revision) => model.write(key, request.value, 0n, revision));
      return { kind: "set", revision: model.revision, succeeded, prevKv };
    }
    case "incr": {
      const key = keyText(request.key);
      if (model.isLocked(key)) return refusal(model, "LOCKED");
      const before = model.keyValueOf(key);
      const number = before === null ? 0n : integerOf(before.value);
      if (number === null) return refusal(model, "NOT_AN_INTEGER");
      const value = number + request.by;
      const isWithin =
        value >= INT64_MIN &&
        value <= INT64_MAX &&
        value >= (request.min ?? INT64_MIN) &&
        value <= (request.max ?? INT64_MAX);
      if (!isWithin) return refusal(model, "OVERFLOW");
      const lease = before?.lease ?? 0n;
      model.inOneRevision((revision) => model.write(key, textBytes(`${value}`), lease, revision));
      return { kind: "incr", revision: model.revision, value, deadlineMs: 0 };
    }
    case "append": {
      const key = keyText(request.key);
      if (model.isLocked(key)) return refusal(model, "LOCKED");
      const before = model.keyValueOf(key);
      const value = new Uint8Array((before?.value.length ?? 0) + request.value.length);
      if (before !== null) value.set(before.value);
      value.set(request.value, before?.value.length ?? 0);
      model.inOneRevision((revision) => model.write(key, value, before?.lease ?? 0n, revision));
      return { kind: "append", revision: model.revision, length: value.length };
    }
    case "mset": {
      const { condition, items } = request;
      if (items.some(({ key }) => model.isLocked(keyText(key)))) return refusal(model, "LOCKED");
      const succeeded =
        condition === "none" ||
        items.every(
          ({ key }) => (model.keyValueOf(keyText(key)) === null) === (condition === "absent"),
        );
      if (succeeded)
        model.inOneRevision((revision) => {
          for (const { key, value } of items) model.write(keyText(key), value, 0n, revision);
        });
      return { kind: "mset", revision: model.revision, succeeded };
    }
    case "mdel": {
      const there = request.keys.map(keyText).filter((key) => model.keyValueOf(key) !== null);
      if (there.length > 0)
        model.inOneRevision((revision) => {
          for (const key of there) model.write(key, null, 0n, revision);
        });
      return { kind: "mdel", revision: model.revision, deleted: there.length };
    }
    case "lock":
    case "unlock":
    case "extendLock":
      return applyLocking(model, request);
  }
}

function applyLocking(model: KvModel, request: LockingRequest): Outcome {
  const key = keyText(request.key);
  const before = model.keyValueOf(key);
  if (before !== null && !model.isLocked(key)) return refusal(model, "WRONG_KIND");
  const isHolder = before !== null && sameBytes(before.value, request.token);
  if (request.kind === "lock") {
    const acquired = before === null || isHolder;
    if (acquired)
      model.inOneRevision((revision) => model.write(key, request.token, 0n, revision, true));
    return {
      kind: "lock",
      revision: model.revision,
      acquired,
      fence: before?.createRevision ?? model.revision,
      token: acquired ? request.token : (before?.value as Uint8Array),
      deadlineMs: SOME_MS,
      leftMs: acquired ? request.ttlMs : SOME_MS,
    };
  }
  const isMeant = isHolder && (request.fence === 0 || request.fence === before.createRevision);
  if (request.kind === "unlock") {
    if (isMeant) model.inOneRevision((revision) => model.write(key, null, 0n, revision));
    return { kind: "unlock", revision: model.revision, released: isMeant };
  }
  if (isMeant)
    model.inOneRevision((revision) => model.write(key, request.token, 0n, revision, true));
  return {
    kind: "extendLock",
    revision: model.revision,
    extended: isMeant,
    fence: isMeant ? before.createRevision : 0,
    deadlineMs: isMeant ? SOME_MS : 0,
  };
}

function holds(model: KvModel, key: string, condition: Condition): boolean {
  const found = model.keyValueOf(key);
  switch (condition.kind) {
    case "absent":
      return found === null;
    case "present":
      return found !== null;
    case "value":
      return found !== null && sameBytes(found.value, condition.value);
    case "notValue":
      return found === null || !sameBytes(found.value, condition.value);
    case "revision":
      return found !== null && found.modRevision === condition.revision;
  }
}

function refusal(model: KvModel, code: Refusal["code"]): Outcome {
  return { kind: "error", code, revision: model.revision, detail: null };
}

/** Decimal text as a counter writes it, or null. */
function integerOf(value: Uint8Array): bigint | null {
  const text = keyText(value);
  return /^(?:0|-?[1-9][0-9]{0,18})$/.test(text) ? BigInt(text) : null;
}

function textBytes(text: string): Uint8Array {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}
