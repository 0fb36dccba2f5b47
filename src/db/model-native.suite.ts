/** The own commands of HarmonyDB on the naive model: told from data-model.md, not from the code. */
import { type Model, bytes, chars } from "./model.suite.ts";
import type { Condition, Expiry, NativeRequest, Outcome } from "./requests.ts";

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

export function writeNative(model: Model, request: NativeRequest): Outcome {
  switch (request.kind) {
    case "sessionOpen":
      if (model.sessions.has(request.session)) return model.refuse("SESSION_EXISTS");
      model.sessions.set(request.session, { used: model.clock, highest: 0, results: new Map() });
      return { kind: "sessionOpen", revision: model.revision, session: request.session };
    case "sessionClose": {
      const closed = model.sessions.delete(request.session);
      return { kind: "sessionClose", revision: model.revision, closed };
    }
    case "configure": {
      const settings = {
        retentionMs: request.retentionMs ?? model.settings.retentionMs,
        retentionRevisions: request.retentionRevisions ?? model.settings.retentionRevisions,
        quotaBytes: request.quotaBytes ?? model.settings.quotaBytes,
      };
      const isOn = settings.retentionMs + settings.retentionRevisions > 0;
      if (model.isHistoryOn && !isOn) return model.refuse("SETTING_FIXED");
      if (isOn && !model.isHistoryOn) model.compacted = ++model.revision;
      model.settings = settings;
      const quotaBytes = settings.quotaBytes ?? null;
      return { kind: "configure", revision: model.revision, ...settings, quotaBytes };
    }
    case "set":
    case "incr":
    case "append":
    case "setRange":
    case "mset":
    case "mdel":
    case "expireKey":
    case "lock":
    case "unlock":
    case "extendLock":
      return model.transaction(() => keyCommand(model, request));
  }
}

type KeyRequest = Exclude<
  NativeRequest,
  { readonly kind: "sessionOpen" | "sessionClose" | "configure" }
>;

function keyCommand(model: Model, request: KeyRequest): Outcome {
  if (request.kind === "mset") return mset(model, request);
  if (request.kind === "mdel") {
    const there = request.keys.map(chars).filter((key, i, all) => {
      return all.indexOf(key) === i && model.holds(key) !== null;
    });
    for (const key of there) model.add(key, null);
    return { kind: "mdel", revision: model.revisionInTxn, deleted: there.length };
  }
  const key = chars(request.key);
  const old = model.holds(key);
  const isLockCommand =
    request.kind === "lock" || request.kind === "unlock" || request.kind === "extendLock";
  if (isLockCommand && old !== null && !old.isLock) return model.refuse("WRONG_KIND");
  if (!isLockCommand && old?.isLock === true) return model.refuse("LOCKED");
  const prev = model.keyValue(key);
  const done = (): { readonly revision: number } => ({ revision: model.revisionInTxn });

  switch (request.kind) {
    case "set": {
      if (request.lease !== 0n && !model.leases.has(request.lease))
        return model.refuse("LEASE_NOT_FOUND");
      const succeeded = meets(model, request.condition, key);
      const kept = request.expiry.kind === "keep" ? (old?.lease ?? 0n) : 0n;
      const lease = request.lease === 0n ? kept : request.lease;
      if (succeeded) write(model, key, chars(request.value), lease, request.expiry);
      return { kind: "set", ...done(), succeeded, prevKv: request.prevKv ? prev : null };
    }
    case "incr": {
      const text = old?.value ?? "0";
      if (!/^(0|-?[1-9][0-9]{0,18})$/.test(text)) return model.refuse("NOT_AN_INTEGER");
      const before = BigInt(text);
      if (before < INT64_MIN || before > INT64_MAX) return model.refuse("NOT_AN_INTEGER");
      const least = request.min ?? INT64_MIN;
      const greatest = request.max ?? INT64_MAX;
      let value = before + request.by;
      if (value < least || value > greatest) {
        if (!request.saturate) return model.refuse("OVERFLOW");
        value = value > greatest ? greatest : least;
        // Never moved against the sign of what is added.
        if (request.by >= 0n ? value < before : value > before) value = before;
      }
      const isWindow = request.expiryIfNone && (old?.deadline ?? 0) !== 0;
      const expiry: Expiry = isWindow ? { kind: "keep" } : request.expiry;
      write(model, key, String(value), old?.lease ?? 0n, expiry);
      return { kind: "incr", ...done(), value, deadlineMs: model.holds(key)?.deadline ?? 0 };
    }
    case "append": {
      const value = (old?.value ?? "") + chars(request.value);
      if (value.length > model.options.valueLengthMax) return model.refuse("VALUE_TOO_LARGE");
      write(model, key, value, old?.lease ?? 0n, { kind: "keep" });
      return { kind: "append", ...done(), length: value.length };
    }
    case "setRange": {
      const before = old?.value ?? "";
      if (request.value.length === 0) return { kind: "setRange", ...done(), length: before.length };
      const written = chars(request.value);
      const end = request.offset + written.length;
      if (end > model.options.valueLengthMax) return model.refuse("VALUE_TOO_LARGE");
      const value =
        before.slice(0, request.offset).padEnd(request.offset, "\0") + written + before.slice(end);
      write(model, key, value, old?.lease ?? 0n, { kind: "keep" });
      return { kind: "setRange", ...done(), length: value.length };
    }
    case "expireKey": {
      const from = old === null || old.deadline === 0 ? Infinity : old.deadline;
      const to = request.expiry.kind === "none" ? Infinity : momentOf(model, request.expiry);
      const isAllowed = {
        always: true,
        noDeadline: from === Infinity,
        hasDeadline: from !== Infinity,
        later: to > from,
        earlier: to < from,
      }[request.when];
      const isNothing = request.expiry.kind === "none" && from === Infinity;
      const isMet = request.condition === null || meets(model, request.condition, key);
      const succeeded = old !== null && isMet && isAllowed && !isNothing;
      if (succeeded && from !== to) write(model, key, old.value, old.lease, request.expiry);
      return { kind: "expireKey", ...done(), succeeded, prevKv: request.prevKv ? prev : null };
    }
    case "lock": {
      const isFree = old === null || old.value === chars(request.token);
      const deadlineMs = isFree ? model.clock + request.ttlMs : old.deadline;
      if (isFree && old?.deadline !== deadlineMs)
        hold(model, key, chars(request.token), deadlineMs);
      return {
        kind: "lock",
        ...done(),
        acquired: isFree,
        fence: model.holds(key)?.create ?? -1,
        token: bytes(model.holds(key)?.value ?? ""),
        deadlineMs,
        leftMs: Math.max(0, deadlineMs - model.clock),
      };
    }
    case "unlock":
    case "extendLock": {
      const isHeld =
        old !== null &&
        old.value === chars(request.token) &&
        (request.fence === 0 || request.fence === old.create);
      if (request.kind === "unlock") {
        if (isHeld) model.add(key, null);
        return { kind: "unlock", ...done(), released: isHeld };
      }
      if (!isHeld)
        return { kind: "extendLock", ...done(), extended: false, fence: 0, deadlineMs: 0 };
      const deadlineMs = model.clock + request.ttlMs;
      if (old.deadline !== deadlineMs) hold(model, key, old.value, deadlineMs);
      return { kind: "extendLock", ...done(), extended: true, fence: old.create, deadlineMs };
    }
  }
}

function mset(model: Model, request: Extract<KeyRequest, { readonly kind: "mset" }>): Outcome {
  const keys = request.items.map(({ key }) => chars(key));
  if (keys.some((key) => model.holds(key)?.isLock === true)) return model.refuse("LOCKED");
  if (request.lease !== 0n && !model.leases.has(request.lease))
    return model.refuse("LEASE_NOT_FOUND");
  const succeeded = keys.every((key) => {
    const isThere = model.holds(key) !== null;
    return request.condition === "none" || isThere === (request.condition === "present");
  });
  if (succeeded) {
    for (const { key, value } of request.items) {
      const kept = request.expiry.kind === "keep" ? (model.holds(chars(key))?.lease ?? 0n) : 0n;
      const lease = request.lease === 0n ? kept : request.lease;
      write(model, chars(key), chars(value), lease, request.expiry);
    }
  }
  return { kind: "mset", revision: model.revisionInTxn, succeeded };
}

function meets(model: Model, condition: Condition | null, key: string): boolean {
  const old = model.holds(key);
  switch (condition?.kind) {
    case undefined:
      return true;
    case "absent":
      return old === null;
    case "present":
      return old !== null;
    case "value":
      return old?.value === chars(condition.value);
    case "notValue":
      return old?.value !== chars(condition.value);
    case "revision":
      return model.keyValue(key)?.modRevision === condition.revision;
  }
}

function momentOf(model: Model, expiry: Expiry): number {
  if (expiry.kind === "after") return model.clock + expiry.ttlMs;
  return expiry.kind === "at" ? expiry.atMs : 0;
}

function write(model: Model, key: string, value: string, lease: bigint, expiry: Expiry): void {
  const old = model.holds(key);
  const moment = momentOf(model, expiry);
  const isTimed = expiry.kind === "after" || expiry.kind === "at";
  if (isTimed && moment <= model.clock) {
    if (old !== null) model.add(key, null);
    return;
  }
  const deadline = expiry.kind === "keep" ? (old?.deadline ?? 0) : moment;
  const create = old?.create ?? model.revision + 1;
  const version = (old?.version ?? 0) + 1;
  model.add(key, { create, version, lease, value, deadline, isLock: false });
}

function hold(model: Model, key: string, token: string, deadline: number): void {
  const old = model.holds(key);
  const create = old?.create ?? model.revision + 1;
  const version = (old?.version ?? 0) + 1;
  model.add(key, { create, version, lease: 0n, value: token, deadline, isLock: true });
}
