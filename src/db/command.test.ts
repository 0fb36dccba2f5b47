import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HarmonyError, Random } from "../base/index.ts";
import { arbAnyWrite, arbRequestId } from "./arbitrary-native.suite.ts";
import { VALUE_LENGTH_MAX } from "./command-native.ts";
import { Op } from "./command-ops.ts";
import {
  type Command,
  decodeCommand,
  encodeCommand,
  encodeExpire,
  encodeOnce,
  fingerprintOf,
} from "./command.ts";
import { bytes } from "./model.suite.ts";
import type { AnyWriteRequest, RangeRequest, RequestOp, TxnRequest } from "./requests.ts";
import { TXN_DEPTH_MAX } from "./validate.ts";

const TTL_MIN = 2;
const CUT = 2 ** 52 - 1;

function encode(request: AnyWriteRequest): Uint8Array {
  return encodeCommand(request, { leaseTtlSecondsMin: TTL_MIN });
}

/** What a command says of a request: what means the same has one form. */
function canonical(request: AnyWriteRequest): Command {
  if (request.kind === "txn") return canonicalTxn(request);
  if (request.kind === "append" || request.kind === "setRange")
    return { ...request, valueLengthMax: VALUE_LENGTH_MAX };
  if (request.kind !== "leaseGrant") return request;
  const ttlSeconds = Math.max(-CUT, Math.min(Number(request.ttlSeconds), CUT));
  return { kind: "leaseGrant", id: request.id, ttlSeconds, ttlSecondsMin: TTL_MIN };
}

function canonicalTxn(txn: TxnRequest): TxnRequest {
  const from = (op: RequestOp): RequestOp => {
    if (op.kind === "txn") return canonicalTxn(op);
    return op.kind === "range"
      ? { ...op, limit: Math.max(0, op.limit), revision: Math.max(0, op.revision) }
      : op;
  };
  return { ...txn, success: txn.success.map(from), failure: txn.failure.map(from) };
}

function nested(depth: number): TxnRequest {
  let txn: TxnRequest = { kind: "txn", compare: [], success: [], failure: [] };
  for (let i = 1; i < depth; i++) txn = { kind: "txn", compare: [], success: [txn], failure: [] };
  return txn;
}

describe("a command", () => {
  it("decodes to the request that it was made from", () => {
    fc.assert(
      fc.property(arbAnyWrite, (request) => {
        expect(decodeCommand(encode(request))).toEqual(canonical(request));
      }),
      { numRuns: 800 },
    );
  });

  it("behind a request id decodes to both", () => {
    fc.assert(
      fc.property(arbAnyWrite, arbRequestId, (request, id) => {
        if (request.kind === "sessionOpen" || request.kind === "sessionClose") return;
        const fingerprint = fingerprintOf(request);
        expect(decodeCommand(encodeOnce(id, fingerprint, encode(request)))).toEqual({
          kind: "once",
          ...id,
          fingerprint,
          command: canonical(request),
        });
      }),
    );
  });

  it("that opens or ends a session has no request id, and an id is two whole numbers from 1", () => {
    const id = { session: 1, number: 1 };
    const code = (given: typeof id, request: AnyWriteRequest): string => {
      try {
        encodeOnce(given, 0, encode(request));
        return "encoded";
      } catch (error) {
        return error instanceof HarmonyError ? error.code : String(error);
      }
    };
    const mdel: AnyWriteRequest = { kind: "mdel", keys: [bytes("a")] };
    expect(code(id, mdel)).toBe("encoded");
    for (const session of [0, -1, 1.5, 2 ** 53, Number.NaN, "1"])
      expect(code({ ...id, session: session as number }, mdel)).toBe("INVALID_ARGUMENT");
    for (const number of [0, -1, 0.5, undefined])
      expect(code({ ...id, number: number as number }, mdel)).toBe("INVALID_ARGUMENT");
    expect(code(id, { kind: "sessionOpen", session: 5 })).toBe("INVALID_ARGUMENT");
    expect(code(id, { kind: "sessionClose", session: 5 })).toBe("INVALID_ARGUMENT");
    const once = encodeOnce(id, 0, encode(mdel));
    expect(() => encodeOnce(id, 0, once)).toThrow("no command holds it");
    const expire = encodeExpire({ upToClockMs: 1, limit: 1 });
    expect(() => encodeOnce(id, 0, expire)).toThrow("no command holds it");
  });

  it("has a fingerprint of what its caller said, which no node's choice changes", () => {
    const grant = { kind: "leaseGrant", id: 0n, ttlSeconds: 5n } as const;
    expect(fingerprintOf(grant)).toBe(fingerprintOf({ ...grant }));
    expect(fingerprintOf(grant)).not.toBe(fingerprintOf({ ...grant, ttlSeconds: 6n }));
    fc.assert(
      fc.property(arbAnyWrite, arbAnyWrite, (a, b) => {
        if (a.kind === "sessionOpen" || b.kind === "sessionOpen") return;
        const isSame = encode(a).join() === encode(b).join();
        expect(fingerprintOf(a) === fingerprintOf(b)).toBe(isSame);
      }),
    );
  });

  it("of an expiry decodes alike", () => {
    const command = { upToClockMs: 1_900_000_000_123, limit: 1000 };
    expect(decodeCommand(encodeExpire(command))).toEqual({ kind: "expire", ...command });
  });

  it("keeps all 64 bits of a lease id", () => {
    for (const id of [1n, -1n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)]) {
      expect(decodeCommand(encode({ kind: "leaseRevoke", id }))).toEqual({
        kind: "leaseRevoke",
        id,
      });
    }
  });

  it("cuts numbers that no store can reach, keeping what they compare to", () => {
    const range: RangeRequest = {
      kind: "range",
      key: bytes("a"),
      rangeEnd: bytes(""),
      limit: 1e300,
      revision: Number.MAX_SAFE_INTEGER,
      sortOrder: "none",
      sortTarget: "key",
      serializable: false,
      keysOnly: false,
      countOnly: false,
      minModRevision: -1e300,
      maxModRevision: 1e300,
      minCreateRevision: 0,
      maxCreateRevision: 0,
    };
    const txn: TxnRequest = { kind: "txn", compare: [], success: [range], failure: [] };
    expect(decodeCommand(encode(txn))).toEqual({
      ...txn,
      success: [{ ...range, limit: CUT, revision: CUT, minModRevision: -CUT, maxModRevision: CUT }],
    });
  });

  it("is refused when encoding would leave a choice to apply", () => {
    expect(() => encode({ kind: "leaseGrant", id: 0n, ttlSeconds: 5n })).toThrow("chosen before");
    expect(() => encodeCommand({ kind: "leaseGrant", id: 1n, ttlSeconds: 5n })).toThrow(
      "least TTL",
    );
    expect(() =>
      encode({ kind: "txn", compare: [], success: [{ kind: "unset" }], failure: [] }),
    ).toThrow("names nothing");
  });
});

describe("encodeCommand", () => {
  const put = {
    kind: "put",
    key: bytes("k"),
    value: bytes("v"),
    lease: 0n,
    prevKv: false,
    ignoreValue: false,
    ignoreLease: false,
  } as const;
  const range: RangeRequest = {
    kind: "range",
    key: bytes("a"),
    rangeEnd: bytes(""),
    limit: 0,
    revision: 0,
    sortOrder: "none",
    sortTarget: "key",
    serializable: false,
    keysOnly: false,
    countOnly: false,
    minModRevision: 0,
    maxModRevision: 0,
    minCreateRevision: 0,
    maxCreateRevision: 0,
  };
  const codeOf = (request: unknown, lengthMax?: number): string => {
    try {
      encodeCommand(request as AnyWriteRequest, {
        leaseTtlSecondsMin: TTL_MIN,
        ...(lengthMax === undefined ? {} : { lengthMax }),
      });
      return "encoded";
    } catch (error) {
      return error instanceof HarmonyError ? error.code : String(error);
    }
  };
  const txn = (compare: unknown[], success: unknown[] = []): unknown => ({
    kind: "txn",
    compare,
    success,
    failure: [],
  });
  const compare = { key: bytes("a"), rangeEnd: bytes(""), result: "equal" };
  const version = { target: "version", number: 1 };
  const none = { kind: "none" } as const;
  const set = {
    kind: "set",
    key: bytes("k"),
    value: bytes("v"),
    condition: null,
    lease: 0n,
    expiry: none,
    prevKv: false,
  };
  const incr = {
    kind: "incr",
    key: bytes("k"),
    by: 1n,
    min: null,
    max: null,
    saturate: false,
    expiry: none,
    expiryIfNone: false,
  };
  const many = { condition: "none", lease: 0n, expiry: none };
  const expireKey = {
    kind: "expireKey",
    key: bytes("k"),
    expiry: none,
    when: "always",
    condition: null,
    prevKv: false,
  };

  it("refuses whatever no command can hold, so that it never gets into a log", () => {
    const gone = new Uint8Array(3);
    structuredClone(gone, { transfer: [gone.buffer] });
    const wrong: unknown[] = [
      { kind: "toString" },
      { ...put, key: gone },
      { ...put, key: "k" },
      { ...put, value: undefined },
      { ...put, value: Object.defineProperty(new Uint8Array(3), "length", { value: 99 }) },
      { ...put, lease: 2n ** 63n },
      { ...put, lease: -(2n ** 63n) - 1n },
      { ...put, lease: 7 },
      { kind: "leaseRevoke", id: 2n ** 70n },
      { kind: "leaseKeepAlive", id: undefined },
      { kind: "compact", revision: 1.5, physical: false },
      { kind: "compact", revision: Number.NaN, physical: false },
      { kind: "compact", revision: 5n, physical: false },
      txn([{ ...compare, operand: { target: "toString", number: 1 } }]),
      txn([{ ...compare, operand: { target: "version", number: Number.NaN } }]),
      txn([{ ...compare, operand: { target: "lease", lease: 2n ** 70n } }]),
      txn([{ ...compare, operand: version, result: "toString" }]),
      txn([{ ...compare, operand: version, result: {} }]),
      txn([{ ...compare, operand: version, result: undefined }]),
      { ...set, condition: { kind: "__proto__" } },
      { ...set, condition: { kind: "value", value: "v" } },
      { ...set, condition: { kind: "revision", revision: 1.5 } },
      { ...set, lease: 2n ** 63n },
      { ...set, expiry: { kind: "after", ttlMs: 2 ** 60 } },
      { ...set, expiry: { kind: "after", ttlMs: Number.NaN } },
      { ...set, expiry: { kind: "at", atMs: 0.5 } },
      { ...set, expiry: { kind: "soon" } },
      { ...incr, by: 1 },
      { ...incr, by: 2n ** 63n },
      { ...incr, min: -(2n ** 63n) - 1n },
      { ...incr, max: "5" },
      { kind: "append", key: bytes(""), value: bytes("v") },
      { kind: "setRange", key: bytes("k"), offset: -1, value: bytes("v") },
      { kind: "setRange", key: bytes("k"), offset: 2 ** 53, value: bytes("v") },
      { kind: "mset", items: [{ key: bytes(""), value: bytes("v") }], ...many },
      { kind: "mset", items: [{ key: bytes("k"), value: 1 }], ...many },
      { kind: "mset", items: [], ...many, condition: "maybe" },
      { kind: "mdel", keys: [bytes("k"), new Uint8Array(4097)] },
      { ...expireKey, when: "sometimes" },
      { ...expireKey, expiry: { kind: "keep" } },
      { kind: "lock", key: bytes("k"), token: bytes(""), ttlMs: 1 },
      { kind: "lock", key: bytes("k"), token: new Uint8Array(1025), ttlMs: 1 },
      { kind: "lock", key: bytes("k"), token: bytes("t"), ttlMs: 0 },
      { kind: "lock", key: bytes("k"), token: bytes("t"), ttlMs: 2 ** 52 },
      { kind: "unlock", key: bytes("k"), token: bytes("t"), fence: -1 },
      { kind: "extendLock", key: bytes("k"), token: bytes("t"), fence: 0, ttlMs: 1.5 },
      { kind: "sessionOpen", session: 0 },
      { kind: "sessionClose", session: 2 ** 53 },
      { kind: "configure", retentionMs: -1 },
      { kind: "configure", quotaBytes: 2 ** 53 - 1 },
      txn([], [{ kind: "constructor" }]),
      txn([], [{ ...range, sortOrder: "constructor" }]),
      txn([], [{ ...range, sortTarget: "__proto__" }]),
      ...["limit", "revision", "minModRevision", "maxModRevision"].flatMap((field) =>
        [1.5, Number.NaN, Number.POSITIVE_INFINITY, "1", 1n, undefined].map((value) =>
          txn([], [{ ...range, [field]: value }]),
        ),
      ),
    ];
    expect(wrong.map((request) => codeOf(request))).toEqual(wrong.map(() => "INVALID_ARGUMENT"));
    expect(codeOf(txn([{ ...compare, operand: version }], [range, put]))).toBe("encoded");
    for (const good of [set, incr, expireKey, { kind: "mset", items: [], ...many }])
      expect(codeOf(good)).toBe("encoded");
  });

  it("makes nothing longer than it may", () => {
    const length = encode(put).length;
    expect(codeOf(put, length)).toBe("encoded");
    expect(codeOf(put, length - 1)).toBe("TOO_LARGE");
    // Refused before it is copied: no buffer has to be found for it.
    expect(codeOf({ ...put, value: new Uint8Array(64 * 1024 * 1024) }, 1000)).toBe("TOO_LARGE");
  });
});

/** Of a command with a request id: format, op code and three varints. */
function headLength(command: Uint8Array): number {
  let at = 2;
  for (let varints = 0; varints < 3; at++) if ((command[at] as number) < 128) varints++;
  return at;
}

describe("decodeCommand", () => {
  it("says malformed for every proper prefix and for every command that something follows", () => {
    fc.assert(
      fc.property(arbAnyWrite, (request) => {
        const whole = encode(request);
        for (let length = 0; length < whole.length; length++) {
          expect(decodeCommand(whole.subarray(0, length)).kind).toBe("malformed");
        }
        expect(decodeCommand(Uint8Array.of(...whole, 0)).kind).toBe("malformed");
      }),
    );
  });

  it("gives an answer for any bytes, and what it accepts it encodes again", () => {
    const random = new Random(7);
    const plain = fc.sample(arbAnyWrite, { numRuns: 300, seed: 7 }).map(encode);
    const seeds = plain.concat(
      plain
        .filter((bytesOf) => ![Op.sessionOpen, Op.sessionClose].some((op) => op === bytesOf[1]))
        .map((bytesOf) => encodeOnce({ session: 300, number: 70_000 }, 0xffff_ffff, bytesOf)),
    );
    for (let run = 0; run < 40_000; run++) {
      const hostile = random.percent(20)
        ? random.bytes(random.below(40))
        : random.pick(seeds).slice();
      for (let flips = random.below(4); flips > 0 && hostile.length > 0; flips--)
        hostile[random.below(hostile.length)] = random.u32();
      const command = decodeCommand(hostile);
      if (
        command.kind === "malformed" ||
        command.kind === "expire" ||
        command.kind === "leaseGrant" ||
        command.kind === "raiseRevision" ||
        command.kind === "memberNews" ||
        command.kind === "alarm"
      )
        continue;
      if (command.kind === "once") {
        const { session, number, fingerprint } = command;
        const inner = Uint8Array.of(1, ...hostile.subarray(headLength(hostile)));
        expect(decodeCommand(inner)).toEqual(command.command);
        expect(decodeCommand(encodeOnce({ session, number }, fingerprint, inner))).toEqual(command);
        continue;
      }
      const again = decodeCommand(encodeCommand(command));
      // How long a value may become is the encoder's say.
      expect("valueLengthMax" in again ? { ...again, valueLengthMax: 0 } : again).toEqual(
        "valueLengthMax" in command ? { ...command, valueLengthMax: 0 } : command,
      );
    }
  });

  it("refuses a count that lies before it makes anything of it", () => {
    const lie = Uint8Array.of(1, 3, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0);
    expect(decodeCommand(lie).kind).toBe("malformed");
  });

  it("follows nesting to its limit and no deeper", () => {
    expect(decodeCommand(encode(nested(TXN_DEPTH_MAX))).kind).toBe("txn");
    const deepest = encode(nested(TXN_DEPTH_MAX));
    expect(decodeCommand(Uint8Array.of(1, 3, 0, 1, 0, ...deepest.subarray(1))).kind).toBe(
      "malformed",
    );
    expect(() => encode(nested(TXN_DEPTH_MAX + 1))).toThrow("nested too deep");
    const bottomless = new Uint8Array(1_000_000);
    bottomless[0] = 1;
    for (let at = 1; at + 4 <= bottomless.length; at += 4) bottomless.set([3, 0, 1, 0], at);
    expect(decodeCommand(bottomless).kind).toBe("malformed");
  });

  it("refuses keys that a store does not take", () => {
    const put = {
      kind: "put",
      value: bytes("v"),
      lease: 0n,
      prevKv: false,
      ignoreValue: false,
      ignoreLease: false,
    } as const;
    expect(decodeCommand(encode({ ...put, key: new Uint8Array(4096) })).kind).toBe("put");
    expect(() => encode({ ...put, key: new Uint8Array(4097) })).toThrow("no command holds it");
    expect(() => encode({ ...put, key: bytes("") })).toThrow("no command holds it");
    expect(decodeCommand(Uint8Array.of(1, 1, 0, 0, 1, 118)).kind).toBe("malformed");
    const [long, longer] = [0x81, 0x82].map((low) => [low, 32, ...new Uint8Array(3968 + low)]) as [
      number[],
      number[],
    ];
    const decoded = (...at: number[]): string => decodeCommand(Uint8Array.from(at)).kind;
    expect(decoded(1, 1, 0, ...long, 1, 118)).toBe("malformed");
    expect(decoded(1, 2, 0, 1, 97, ...long)).toBe("deleteRange");
    expect(decoded(1, 2, 0, 1, 97, ...longer)).toBe("malformed");
    // A range may begin right after the longest key, but that is no key of its own.
    expect(decoded(1, 2, 0, ...long, 1, 97)).toBe("deleteRange");
    expect(decoded(1, 2, 0, ...long, 0)).toBe("malformed");
    expect(decoded(1, 2, 0, ...longer, 1, 97)).toBe("malformed");
  });

  it("knows no other format, op code or flag", () => {
    const put = encode({
      kind: "put",
      key: bytes("k"),
      value: bytes("v"),
      lease: 0n,
      prevKv: false,
      ignoreValue: false,
      ignoreLease: false,
    });
    expect(put).toEqual(Uint8Array.of(1, 1, 0, 1, 107, 1, 118));
    for (const [at, byte] of [
      [0, 2],
      [1, 99],
      [1, 0],
      [1, 9],
      [2, 16],
    ] as const) {
      const other = put.slice();
      other[at] = byte;
      expect(decodeCommand(other).kind).toBe("malformed");
    }
  });
});
