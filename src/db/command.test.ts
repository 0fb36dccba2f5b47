import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HarmonyError, Random } from "../base/index.ts";
import { arbWrite } from "./arbitrary.suite.ts";
import { type Command, decodeCommand, encodeCommand, encodeExpire } from "./command.ts";
import { bytes } from "./model.suite.ts";
import type { RangeRequest, RequestOp, TxnRequest, WriteRequest } from "./requests.ts";
import { TXN_DEPTH_MAX } from "./validate.ts";

const TTL_MIN = 2;
const CUT = 2 ** 52 - 1;

function encode(request: WriteRequest): Uint8Array {
  return encodeCommand(request, { leaseTtlSecondsMin: TTL_MIN });
}

/** What a command says of a request: what means the same has one form. */
function canonical(request: WriteRequest): Command {
  if (request.kind === "txn") return canonicalTxn(request);
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
      fc.property(arbWrite, (request) => {
        expect(decodeCommand(encode(request))).toEqual(canonical(request));
      }),
      { numRuns: 500 },
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
      encodeCommand(request as WriteRequest, {
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
  });

  it("makes nothing longer than it may", () => {
    const length = encode(put).length;
    expect(codeOf(put, length)).toBe("encoded");
    expect(codeOf(put, length - 1)).toBe("TOO_LARGE");
    // Refused before it is copied: no buffer has to be found for it.
    expect(codeOf({ ...put, value: new Uint8Array(64 * 1024 * 1024) }, 1000)).toBe("TOO_LARGE");
  });
});

describe("decodeCommand", () => {
  it("says malformed for every proper prefix and for every command that something follows", () => {
    fc.assert(
      fc.property(arbWrite, (request) => {
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
    const seeds = fc.sample(arbWrite, { numRuns: 200, seed: 7 }).map(encode);
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
        command.kind === "leaseGrant"
      )
        continue;
      const again = encodeCommand(command);
      expect(decodeCommand(again)).toEqual(command);
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
