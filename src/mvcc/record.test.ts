import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ByteWriter } from "../base/index.ts";
import { EventView, writeEvent } from "./event.ts";
import { RecordView, writeRecord, writeTombstone } from "./record.ts";

const REVISION_MAX = 2 ** 53 - 1;

const arbRecord = fc.record({
  createRevision: fc.integer({ min: 2, max: REVISION_MAX }),
  changedLater: fc.nat(1_000),
  sub: fc.nat(0xffff_ffff),
  version: fc.integer({ min: 1, max: REVISION_MAX }),
  lease: fc.option(fc.uint8Array({ minLength: 8, maxLength: 8 })),
  deadlineMs: fc.oneof(fc.constant(0), fc.maxSafeNat()),
  value: fc.uint8Array({ maxLength: 50 }),
});

describe("a record", () => {
  it("reads back as it was written", () => {
    const view = new RecordView();
    fc.assert(
      fc.property(arbRecord, ({ changedLater, ...rest }) => {
        const fields = {
          ...rest,
          modRevision: Math.min(REVISION_MAX, rest.createRevision + changedLater),
        };
        const out = new ByteWriter(4);
        writeRecord(out, fields);
        view.read(out.copy());
        const { modRevision, sub, createRevision, version, lease, deadlineMs, value } = view;
        expect({ modRevision, sub, createRevision, version, lease, deadlineMs, value }).toEqual(
          fields,
        );
        expect([view.isTombstone, view.hasLease]).toEqual([false, fields.lease !== null]);
      }),
    );
  });

  it("is not written with revisions that cannot be", () => {
    const good = {
      modRevision: 5,
      sub: 0,
      createRevision: 5,
      version: 1,
      lease: null,
      deadlineMs: 0,
      value: new Uint8Array(0),
    };
    for (const wrong of [
      { version: 0 },
      { createRevision: 6 },
      { createRevision: 1 },
      { lease: new Uint8Array(7) },
    ]) {
      expect(() => writeRecord(new ByteWriter(), { ...good, ...wrong })).toThrow();
    }
  });

  it("stops the reader when it is cut short or of an unknown format", () => {
    const out = new ByteWriter();
    writeRecord(out, {
      modRevision: 300,
      sub: 300,
      createRevision: 300,
      version: 300,
      lease: new Uint8Array(8),
      deadlineMs: 300,
      value: new Uint8Array(0),
    });
    const whole = out.copy();
    for (let length = 0; length < whole.length; length++) {
      expect(() => new RecordView().read(whole.subarray(0, length))).toThrow();
    }
    for (const [at, byte] of [
      [0, 2],
      [1, 2],
      [2, 8],
    ] as const) {
      const other = whole.slice();
      other[at] = byte;
      expect(() => new RecordView().read(other)).toThrow("known format");
    }
  });

  it("of a deletion has neither version nor value", () => {
    const out = new ByteWriter();
    writeTombstone(out, 7, 3);
    const view = new RecordView().read(out.view());
    expect([view.isTombstone, view.modRevision, view.sub, view.version, view.value.length]).toEqual(
      [true, 7, 3, 0, 0],
    );
  });
});

describe("an event", () => {
  it("reads back as it was written, and is refused when it is not one", () => {
    const out = new ByteWriter();
    writeEvent(out, "client", 9, 2, Uint8Array.of(1, 2));
    const whole = out.copy();
    const { isDelete, previousRevision, previousSub, key } = new EventView().read(whole);
    expect({ isDelete, previousRevision, previousSub, key }).toEqual({
      isDelete: true,
      previousRevision: 9,
      previousSub: 2,
      key: Uint8Array.of(1, 2),
    });
    expect(() => new EventView().read(whole.subarray(0, 3))).toThrow("names a key");
    expect(() => new EventView().read(Uint8Array.of(3, ...whole.subarray(1)))).toThrow(
      "known format",
    );
    expect(() => writeEvent(out, "client", 0, 0, Uint8Array.of(1))).toThrow("only a live key");
  });
});
