/**
 * HarmonyDB's own commands on the whiteboard: conditions, counters, locks, deadlines, and many keys at once, each in one
 * revision.
 *
 * The whiteboard has no clock: what a TTL comes to is told by who heard of it (`KvModel.deadlineAfter`). Where nobody
 * did, each request for a lock has a longer TTL than all before it, so its deadline is later, and it makes a revision.
 */
import type {
  Condition,
  ExpireKeyRequest,
  Expiry,
  KeyValue,
  NativeRequest,
  Outcome,
  Refusal,
} from "../src/db/index.ts";
import type { KvModel } from "./model.ts";
import { keyText } from "./model.ts";
import { closeSession, openSession } from "./model-sessions.ts";
import { SOME_MS, sameBytes } from "./violation.ts";

/** The commands that the workload sends: all of them, with moments told by a TTL. */
export type KnownNativeRequest = NativeRequest;

export type LockKind = "lock" | "unlock" | "extendLock";
export type LockingRequest = Extract<NativeRequest, { readonly kind: LockKind }>;

const NOTHING = new Uint8Array(0);
/** A setting that the node was started with. */
const SOME_NUMBER = Number.NaN;
const INT64_MAX = 0x7fff_ffff_ffff_ffffn;
const INT64_MIN: bigint = -INT64_MAX - 1n;

export function applyNative(
  model: KvModel,
  request: KnownNativeRequest,
  proposedAtMs: number,
): Outcome {
  switch (request.kind) {
    case "set": {
      const key = keyText(request.key);
      const before = model.keyValueOf(key);
      if (before?.isLock === true) return refusal(model, "LOCKED");
      if (isLeaseMissing(model, request.lease)) return refusal(model, "LEASE_NOT_FOUND");
      const prevKv = request.prevKv ? before : null;
      const succeeded = request.condition === null || holds(model, key, request.condition);
      const lease = leaseAfter(request.lease, request.expiry, before);
      if (succeeded)
        model.inOneRevision((revision) => {
          const deadlineMs = deadlineAfter(model, key, request.expiry, before, proposedAtMs);
          model.write(key, request.value, lease, revision, { deadlineMs });
        });
      return { kind: "set", revision: model.revision, succeeded, prevKv };
    }
    case "incr": {
      const key = keyText(request.key);
      const before = model.keyValueOf(key);
      if (before?.isLock === true) return refusal(model, "LOCKED");
      const number = before === null ? 0n : integerOf(before.value);
      if (number === null) return refusal(model, "NOT_AN_INTEGER");
      const value = sumOf(number, request);
      if (value === null) return refusal(model, "OVERFLOW");
      const isRunning = request.expiryIfNone && (before?.deadlineMs ?? 0) !== 0;
      const expiry: Expiry = isRunning ? { kind: "keep" } : request.expiry;
      let deadlineMs = 0;
      model.inOneRevision((revision) => {
        deadlineMs = deadlineAfter(model, key, expiry, before, proposedAtMs);
        const lease = before?.lease ?? 0n;
        model.write(key, textBytes(`${value}`), lease, revision, { deadlineMs });
      });
      return { kind: "incr", revision: model.revision, value, deadlineMs };
    }
    case "append":
    case "setRange": {
      const key = keyText(request.key);
      const before = model.keyValueOf(key);
      if (before?.isLock === true) return refusal(model, "LOCKED");
      const old = before?.value ?? NOTHING;
      const at = request.kind === "append" ? old.length : request.offset;
      const isChange = request.kind === "append" || request.value.length > 0;
      const end = isChange ? at + request.value.length : 0;
      const value = new Uint8Array(Math.max(old.length, end));
      value.set(old);
      value.set(request.value, isChange ? at : 0);
      const { lease = 0n, deadlineMs = 0 } = before ?? {};
      if (isChange)
        model.inOneRevision((revision) => model.write(key, value, lease, revision, { deadlineMs }));
      return { kind: request.kind, revision: model.revision, length: value.length };
    }
    case "mset": {
      const { condition, items, expiry } = request;
      if (items.some(({ key }) => model.isLocked(keyText(key)))) return refusal(model, "LOCKED");
      if (isLeaseMissing(model, request.lease)) return refusal(model, "LEASE_NOT_FOUND");
      const succeeded =
        condition === "none" ||
        items.every(
          ({ key }) => (model.keyValueOf(keyText(key)) === null) === (condition === "absent"),
        );
      if (succeeded)
        model.inOneRevision((revision) => {
          for (const { key: bytes, value } of items) {
            const key = keyText(bytes);
            const before = model.keyValueOf(key);
            const deadlineMs = deadlineAfter(model, key, expiry, before, proposedAtMs);
            const lease = leaseAfter(request.lease, expiry, before);
            model.write(key, value, lease, revision, { deadlineMs });
          }
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
    case "expireKey":
      return expireKey(model, request, proposedAtMs);
    case "lock":
    case "unlock":
    case "extendLock":
      return applyLocking(model, request, proposedAtMs);
    case "sessionOpen":
      return openSession(model, request.session, proposedAtMs);
    case "sessionClose":
      return closeSession(model, request.session);
    case "configure": {
      const { retentionRevisions, quotaBytes } = request;
      if (retentionRevisions === 0 && model.keepsHistory) return refusal(model, "SETTING_FIXED");
      if (retentionRevisions !== undefined && retentionRevisions > 0 && !model.keepsHistory)
        model.beginHistory();
      model.retentionRevisions = retentionRevisions ?? model.retentionRevisions;
      model.quotaBytes = quotaBytes ?? model.quotaBytes;
      return {
        kind: "configure",
        revision: model.revision,
        retentionMs: 0,
        retentionRevisions: model.retentionRevisions ?? SOME_NUMBER,
        quotaBytes: model.quotaBytes,
      };
    }
  }
}

function sumOf(
  number: bigint,
  { by, min, max, saturate }: Extract<NativeRequest, { readonly kind: "incr" }>,
): bigint | null {
  const least = min ?? INT64_MIN;
  const most = max ?? INT64_MAX;
  const sum = number + by;
  if (sum >= least && sum <= most) return sum;
  if (!saturate) return null;
  // It becomes the bound, but never goes against what is added.
  const bound = sum > most ? most : least;
  return (by >= 0n ? bound >= number : bound <= number) ? bound : number;
}

function expireKey(model: KvModel, request: ExpireKeyRequest, proposedAtMs: number): Outcome {
  const { expiry, condition, when } = request;
  const key = keyText(request.key);
  const before = model.keyValueOf(key);
  if (before?.isLock === true) return refusal(model, "LOCKED");
  const presentMs = before?.deadlineMs ?? 0;
  const isMeant =
    before !== null &&
    (condition === null || holds(model, key, condition)) &&
    !(expiry.kind === "none" && presentMs === 0) &&
    (when === "always" || (when === "noDeadline") === (presentMs === 0));
  if (isMeant) {
    const { value, lease } = before;
    const isOver = expiry.kind === "after" && expiry.ttlMs <= 0;
    const deadlineMs =
      expiry.kind === "after" && !isOver ? model.deadlineAfter(key, expiry.ttlMs, proposedAtMs) : 0;
    if (deadlineMs !== null)
      model.inOneRevision((revision) =>
        isOver
          ? model.write(key, null, 0n, revision, { cause: "expired" })
          : model.write(key, value, lease, revision, { deadlineMs }),
      );
  }
  const prevKv = request.prevKv ? before : null;
  return { kind: "expireKey", revision: model.revision, succeeded: isMeant, prevKv };
}

/** Of a write that makes a revision in any case. */
function deadlineAfter(
  model: KvModel,
  key: string,
  expiry: Expiry,
  before: KeyValue | null,
  proposedAtMs: number,
): number {
  switch (expiry.kind) {
    case "none":
      return 0;
    case "keep":
      return before?.deadlineMs ?? 0;
    case "after":
      return model.deadlineAfter(key, expiry.ttlMs, proposedAtMs) ?? before?.deadlineMs ?? 0;
    case "at":
      throw new Error("the workload names no moment of the wall clock");
  }
}

function leaseAfter(lease: bigint, expiry: Expiry, before: KeyValue | null): bigint {
  return lease === 0n && expiry.kind === "keep" ? (before?.lease ?? 0n) : lease;
}

function isLeaseMissing(model: KvModel, lease: bigint): boolean {
  return lease !== 0n && !model.leases.has(lease);
}

function applyLocking(model: KvModel, request: LockingRequest, proposedAtMs: number): Outcome {
  const key = keyText(request.key);
  const before = model.keyValueOf(key);
  if (before !== null && !model.isLocked(key)) return refusal(model, "WRONG_KIND");
  const isHolder = before !== null && sameBytes(before.value, request.token);
  if (request.kind === "lock") {
    const acquired = before === null || isHolder;
    const presentMs = before?.deadlineMs ?? SOME_MS;
    const deadlineMs = acquired ? hold(model, key, before, request, proposedAtMs) : presentMs;
    return {
      kind: "lock",
      revision: model.revision,
      acquired,
      fence: before?.createRevision ?? model.revision,
      token: acquired ? request.token : (before?.value as Uint8Array),
      deadlineMs,
      leftMs: acquired ? request.ttlMs : SOME_MS,
    };
  }
  const isMeant = isHolder && (request.fence === 0 || request.fence === before.createRevision);
  if (request.kind === "unlock") {
    if (isMeant) model.inOneRevision((revision) => model.write(key, null, 0n, revision));
    return { kind: "unlock", revision: model.revision, released: isMeant };
  }
  const deadlineMs = isMeant ? hold(model, key, before, request, proposedAtMs) : 0;
  return {
    kind: "extendLock",
    revision: model.revision,
    extended: isMeant,
    fence: isMeant ? before.createRevision : 0,
    deadlineMs,
  };
}

/** Answers the deadline. With the same one nothing is changed. */
function hold(
  model: KvModel,
  key: string,
  before: KeyValue | null,
  { token, ttlMs }: Extract<LockingRequest, { readonly ttlMs: number }>,
  proposedAtMs: number,
): number {
  const deadlineMs = model.deadlineAfter(key, ttlMs, proposedAtMs);
  if (deadlineMs === null) return before?.deadlineMs ?? 0;
  model.inOneRevision((revision) =>
    model.write(key, token, 0n, revision, { isLock: true, deadlineMs }),
  );
  return deadlineMs;
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
