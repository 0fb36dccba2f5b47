/** Maintenance.Snapshot without a transport: pieces in order, as fast as the client reads, and no file left open. */
import { describe, expect, it } from "vitest";
import { HarmonyError } from "../../base/index.ts";
// The generated code is the oracle of tests and no part of the codec's door.
// oxlint-disable-next-line no-restricted-imports
import * as pb from "../../codec/protobuf/gen/etcdserverpb/rpc.ts";
import type { SnapshotReader } from "../../db/index.ts";
import type { StreamCall, StreamListener } from "./method.ts";
import { snapshotService, type SnapshotSupport } from "./snapshot-service.ts";
import type { GrpcStatus } from "./status.ts";

const SIZE_BYTES = 200_000;

/** Reads zeros; remembers whether it was closed. */
class FakeReader {
  remaining = SIZE_BYTES;
  closed = 0;
  fails = false;

  read(
    bytesMax: number,
    done: (error: HarmonyError | null, bytes: Uint8Array | null) => void,
  ): void {
    if (this.fails) {
      done(new HarmonyError("IO"), null);
      return;
    }
    const bytes = new Uint8Array(Math.min(bytesMax, this.remaining));
    this.remaining -= bytes.length;
    done(null, bytes.length === 0 ? null : bytes);
  }

  close(): void {
    this.closed++;
  }
}

interface Opened {
  readonly listener: StreamListener;
  readonly sent: pb.SnapshotResponse[];
  readonly ends: (GrpcStatus | null)[];
  /** Lets the client read once more. */
  readonly drain: () => void;
}

function open(support: SnapshotSupport | undefined): Opened {
  const [method] = snapshotService(support, "1.0");
  if (method === undefined || method.kind === "unary") throw new Error("it is a stream");
  const sent: pb.SnapshotResponse[] = [];
  const ends: (GrpcStatus | null)[] = [];
  let waiting: (() => void) | null = null;
  const call: StreamCall = {
    metadata: () => undefined,
    send: (message) => sent.push(pb.SnapshotResponse.decode(message)),
    isWritable: false,
    whenWritable: (next) => {
      waiting = next;
    },
    end: (status) => ends.push(status),
  };
  const drain = (): void => {
    const next = waiting;
    waiting = null;
    next?.();
  };
  return { listener: method.open(call), sent, ends, drain };
}

function supportOf(reader: FakeReader): SnapshotSupport {
  return { openSnapshot: (done) => done(null, reader as unknown as SnapshotReader) };
}

describe("Maintenance.Snapshot", () => {
  it("sends the next piece when the client has read the one before, and says how much follows", () => {
    const reader = new FakeReader();
    const { listener, sent, ends, drain } = open(supportOf(reader));
    listener.message(new Uint8Array(0), () => {});
    expect(sent).toHaveLength(1);
    for (let i = 0; i < 10 && ends.length === 0; i++) drain();
    expect(sent.map(({ blob }) => blob.length).reduce((a, b) => a + b)).toBe(SIZE_BYTES);
    expect(sent.length).toBeGreaterThan(3);
    let left = SIZE_BYTES;
    for (const { blob, remaining_bytes: remaining, version } of sent) {
      left -= blob.length;
      expect([remaining, version]).toEqual([BigInt(left), "1.0"]);
    }
    expect(ends).toEqual([null]);
    listener.closed();
    expect(reader.closed).toBe(1);
  });

  it("lets go of the file of a client that left while it was made, or in the middle", () => {
    const late = new FakeReader();
    let arrive: () => void = () => {};
    const first = open({
      openSnapshot: (done) => {
        arrive = () => done(null, late as unknown as SnapshotReader);
      },
    });
    first.listener.message(new Uint8Array(0), () => {});
    first.listener.closed();
    arrive();
    expect([late.closed, first.sent.length]).toEqual([1, 0]);

    const reader = new FakeReader();
    const second = open(supportOf(reader));
    second.listener.message(new Uint8Array(0), () => {});
    second.listener.closed();
    expect(reader.closed).toBe(1);
  });

  it("answers by the table when there is none to be had", () => {
    const full = open({ openSnapshot: (done) => done(new HarmonyError("DISK_FULL"), null) });
    full.listener.message(new Uint8Array(0), () => {});
    expect(full.ends[0]?.code).toBe(8);
    const reader = new FakeReader();
    reader.fails = true;
    const broken = open(supportOf(reader));
    broken.listener.message(new Uint8Array(0), () => {});
    expect(broken.ends[0]?.code).toBe(2);
    const none = open(undefined);
    none.listener.message(new Uint8Array(0), () => {});
    expect(none.ends[0]?.code).toBe(12);
  });
});
