/** Messages on a stream: any split, one at a time, and how much of them a connection holds. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Allowance, type CallListener, GrpcCall, HeldRoom } from "./grpc-call.ts";
import { HTTP2_LIMITS } from "./limits.ts";
import { Http2Connection } from "./connection.ts";
import { parseTimeout, isGrpc, metadataValue } from "./request-head.ts";
import { headerField } from "./hpack-table.ts";
import {
  bytes,
  F,
  field,
  frame,
  framesOf,
  GREETING,
  head,
  message,
  request,
  settings,
  T,
  u32,
} from "./peer.suite.ts";

interface Options {
  readonly max?: number;
  readonly allowance?: number;
  /** Messages are kept in hand until the test says otherwise. */
  readonly keeps?: boolean;
  /** Shared with other connections. */
  readonly room?: HeldRoom;
}

const ROOM_BYTES: number = 2 ** 30;

class Rig {
  readonly events: string[] = [];
  readonly messages: Uint8Array[] = [];
  readonly calls: Map<number, GrpcCall> = new Map();
  readonly connection: Http2Connection;
  readonly room: HeldRoom;
  /** What the client may still send, as far as it was told. */
  readonly windows: Map<number, number> = new Map();

  constructor(options: Options = {}) {
    const { max = 1000, allowance = 400_000, room = new HeldRoom(ROOM_BYTES) } = options;
    this.room = room;
    const shared = new Allowance(allowance);
    this.connection = new Http2Connection(HTTP2_LIMITS, {
      hasOutput: () => {},
      finished: () => this.events.push("finished"),
      request: (stream, { encoding }) => {
        const { id } = stream;
        const listener: CallListener = {
          message: (got) => {
            this.messages.push(got);
            this.events.push(`message ${got.length} on ${id}`);
            this.onMessage();
            if (options.keeps !== true) call.next();
            this.afterMessage();
          },
          halfClosed: () => this.events.push(`half-closed ${id}`),
          writable: () => {},
          closed: () => this.events.push(`closed ${id}`),
        };
        const call = new GrpcCall(stream, listener, shared, this.room, {
          encoding,
          maxMessageBytes: max,
        });
        this.calls.set(id, call);
        return call;
      },
    });
    this.send(GREETING, settings());
  }

  send(...parts: readonly Uint8Array[]): void {
    for (const part of parts) this.connection.receive(part, 0);
    this.take();
  }

  /** Texts of the header blocks that were sent since the last time. */
  take(): string {
    const { outbound } = this.connection;
    let text = "";
    const waiting = outbound.output.sizeBytes;
    for (const { type, streamId, payload } of framesOf(bytes(...outbound.take()))) {
      if (type === T.headers) text += String.fromCharCode(...payload);
      if (type === T.window && streamId !== 0) {
        const by = new DataView(payload.buffer).getUint32(0);
        this.windows.set(streamId, (this.windows.get(streamId) ?? 65_535) + by);
      }
    }
    this.connection.flushed(waiting);
    this.texts += text;
    return text;
  }
  texts = "";
  onMessage: () => void = () => {};
  afterMessage: () => void = () => {};

  /** Sends as much of `body` as the window of the stream is open for. Returns what did not fit. */
  push(id: number, body: Uint8Array, flags = 0): Uint8Array {
    let rest = body;
    for (;;) {
      const window = this.windows.get(id) ?? 65_535;
      const size = Math.min(window, rest.length, 16_384);
      if (size === 0) return rest;
      this.windows.set(id, window - size);
      const last = size === rest.length ? flags : 0;
      this.send(frame(T.data, last, id, rest.slice(0, size)));
      rest = rest.slice(size);
    }
  }
}

describe("messages", () => {
  it("come out whole and in order, however they are split into frames", () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 8 }),
        fc.array(fc.nat({ max: 600 }), { maxLength: 12 }),
        fc.boolean(),
        (bodies, cuts, keeps) => {
          const rig = new Rig({ keeps });
          rig.send(request(1, 0));
          const all = bytes(...bodies.map(message));
          const sorted = [0, ...cuts.map((cut) => Math.min(cut, all.length)).sort((a, b) => a - b)];
          for (const [i, from] of sorted.entries())
            rig.send(frame(T.data, 0, 1, all.slice(from, sorted[i + 1] ?? all.length)));
          rig.send(frame(T.data, F.endStream, 1));
          if (keeps)
            for (let i = 0; i < bodies.length; i++) {
              expect(rig.messages).toHaveLength(i + 1);
              expect(rig.events).not.toContain("half-closed 1");
              rig.calls.get(1)?.next();
            }
          expect(rig.messages).toEqual(bodies);
          expect(rig.events.at(-1)).toBe("half-closed 1");
          expect(rig.room.freeBytes).toBe(ROOM_BYTES);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("thousands of empty ones in one frame do not grow the stack", () => {
    const rig = new Rig();
    rig.send(request(1, 0), frame(T.data, F.endStream, 1, new Uint8Array(5 * 3000)));
    expect(rig.messages).toHaveLength(3000);
    expect(rig.events.at(-1)).toBe("half-closed 1");
  });

  it("nor do those that gathered while one was in hand", () => {
    const options = { keeps: true };
    const rig = new Rig(options);
    rig.send(request(1, 0), frame(T.data, 0, 1, new Uint8Array(5)));
    for (let i = 0; i < 4; i++) rig.send(frame(T.data, 0, 1, new Uint8Array(5 * 3200)));
    expect(rig.messages).toHaveLength(1);
    options.keeps = false;
    let depth = 0;
    let deepest = 0;
    rig.onMessage = () => {
      deepest = Math.max(deepest, ++depth);
    };
    rig.afterMessage = () => depth--;
    rig.calls.get(1)?.next();
    expect(rig.messages).toHaveLength(12_801);
    expect(deepest).toBe(1);
  });

  it.each<[string, string, Uint8Array, Uint8Array?]>([
    ["one that is larger than allowed, before it has come", "8\u0000", bytes(0, u32(1001))],
    ["a compressed one without a name of the compression", "13\u0000", bytes(1, u32(1), 7)],
    ["a compressed one", "12\u0000", bytes(1, u32(1), 7), field("grpc-encoding", "gzip")],
    ["flags that nobody knows", "13\u0000", bytes(2, u32(1), 7)],
    ["one that is not whole at the end", "13\u0000", bytes(0, u32(3), 7)],
    ["a prefix that is not whole at the end", "13\u0000", bytes(0, 0)],
  ])("%s ends the call", (_name, status, body, more = new Uint8Array(0)) => {
    const rig = new Rig();
    rig.send(request(1, 0, head("/s/m", more)), frame(T.data, F.endStream, 1, body));
    const code = status.slice(0, -1);
    expect(rig.texts).toContain(`grpc-status${String.fromCharCode(code.length)}${code}`);
    expect(rig.texts.includes("grpc-accept-encoding\bidentity")).toBe(code === "12");
    expect(rig.events).toEqual(["closed 1"]);
  });

  it("one of the largest size is taken, one byte more is not", () => {
    const rig = new Rig({ max: 300_000 });
    rig.send(request(1, 0), request(3, 0));
    expect(rig.push(1, message(new Uint8Array(300_000)), F.endStream)).toHaveLength(0);
    expect(rig.events).toEqual(["message 300000 on 1", "half-closed 1"]);
    rig.push(3, message(new Uint8Array(300_001)).slice(0, 5));
    expect(rig.events.at(-1)).toBe("closed 3");
  });
});

describe("what is held", () => {
  it("a client whose messages are not taken may send a window and no more", () => {
    const rig = new Rig({ keeps: true });
    rig.send(request(1, 0));
    const sent = bytes(...Array.from({ length: 300 }, () => message(new Uint8Array(995))));
    let rest = rig.push(1, sent);
    expect(sent.length - rest.length).toBeLessThan(2 * 65_535);
    expect(rig.messages).toHaveLength(1);
    for (let taken = 1; taken <= 300; taken++) {
      rig.calls.get(1)?.next();
      rig.take();
      rest = rig.push(1, rest);
    }
    expect(rig.messages).toHaveLength(300);
    expect(rest).toHaveLength(0);
  });

  it("messages of any sizes one after the other are never left without window", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.constantFrom(0, 1, 5000, 25_000, 32_000, 40_000, 60_000, 65_530, 65_531, 90_000),
          {
            maxLength: 6,
          },
        ),
        fc.boolean(),
        (sizes, keeps) => {
          const rig = new Rig({ max: 100_000, allowance: 100_005, keeps });
          rig.send(request(1, 0));
          let rest = bytes(...sizes.map((size) => message(new Uint8Array(size))));
          for (let i = 0; i <= sizes.length; i++) {
            rest = rig.push(1, rest);
            if (!keeps || i === sizes.length) continue;
            rig.calls.get(1)?.next();
            rig.take();
          }
          expect(rest).toHaveLength(0);
          expect(rig.messages.map(({ length }) => length)).toEqual(sizes);
        },
      ),
      { numRuns: 100 },
    );
  });

  it("large messages share the allowance: those that find none wait, and each comes through in the end", () => {
    const rig = new Rig({ max: 300_000, allowance: 400_000 });
    const ids = [1, 3, 5, 7];
    const rests = new Map(ids.map((id) => [id, message(new Uint8Array(300_000))]));
    for (const id of ids) rig.send(request(id, 0));
    // Everybody begins at once.
    for (const id of ids) {
      const rest = rests.get(id) as Uint8Array;
      rig.push(id, rest.slice(0, 6));
      rests.set(id, rest.slice(6));
    }
    const open = ids.filter((id) => (rig.windows.get(id) ?? 0) > 65_535);
    expect(open).toEqual([1]);
    // The one that waits first gives up: the next one's turn is not lost.
    rig.send(frame(T.rst, 0, 3, u32(8)));
    for (let round = 0; round < 4; round++)
      for (const id of [7, 5, 1])
        rests.set(id, rig.push(id, rests.get(id) as Uint8Array, F.endStream));
    expect(rig.events.filter((event) => event.startsWith("message")).sort()).toEqual([
      "message 300000 on 1",
      "message 300000 on 5",
      "message 300000 on 7",
    ]);
  });

  it("who waits behind one that gives up gets its turn at once", () => {
    const rig = new Rig({ max: 300_000, allowance: 400_000 });
    for (const [id, size] of [
      [1, 300_000],
      [3, 300_000],
      [5, 90_000],
    ] as const) {
      rig.send(request(id, 0));
      rig.push(id, message(new Uint8Array(size)).slice(0, 6));
    }
    expect(rig.windows.get(5)).toBeLessThan(65_535);
    rig.send(frame(T.rst, 0, 3, u32(8)));
    expect(rig.windows.get(5)).toBeGreaterThan(90_000);
  });

  it("what a call was given of the allowance comes back when it ends early", () => {
    const rig = new Rig({ max: 300_000, allowance: 300_005 });
    for (const id of [1, 3]) {
      rig.send(request(id, 0));
      rig.push(id, message(new Uint8Array(300_000)).slice(0, 50_000));
    }
    expect(rig.windows.get(3)).toBe(15_535);
    rig.send(frame(T.rst, 0, 1, u32(8)));
    expect(rig.windows.get(3)).toBeGreaterThan(250_000);
  });
});

describe("what all connections hold", () => {
  const half = message(new Uint8Array(120_000)).slice(0, 60_000);

  it("is bounded: whose bytes find no room is refused, whole messages are not, and what ends gives its room back", () => {
    const room = new HeldRoom(100_000);
    const [first, second] = [new Rig({ max: 300_000, room }), new Rig({ max: 300_000, room })];
    first.send(request(1, 0));
    expect(first.push(1, half)).toHaveLength(0);
    expect(room.freeBytes).toBe(40_000);

    second.send(request(1, 0));
    second.push(1, half);
    expect(second.texts).toMatch(/grpc-status.*8.*not whole; try again later/s);
    expect(second.events).toEqual(["closed 1"]);
    expect(room.freeBytes).toBe(40_000);
    second.send(request(3, 0));
    second.push(3, message(new Uint8Array(10_000)), F.endStream);
    expect(second.events.slice(1)).toEqual(["message 10000 on 3", "half-closed 3"]);

    first.connection.lost();
    expect(room.freeBytes).toBe(100_000);
    second.send(request(5, 0));
    expect(second.push(5, message(new Uint8Array(60_000)), F.endStream)).toHaveLength(0);
    expect(second.events).toContain("message 60000 on 5");
    expect(room.freeBytes).toBe(100_000);
  });

  it("counts what waits behind a message in hand", () => {
    const room = new HeldRoom(100_000);
    const rig = new Rig({ max: 300_000, room, keeps: true });
    rig.send(request(1, 0));
    rig.push(1, message(new Uint8Array(1_000)));
    expect(room.freeBytes).toBe(100_000);
    rig.push(1, half);
    expect(room.freeBytes).toBe(40_000);
    rig.send(request(3, 0));
    rig.push(3, half);
    expect(rig.events).toContain("closed 3");
    // The rest of what was refused is on its way: it takes nothing.
    rig.send(frame(T.data, 0, 3, half.slice(0, 5_000)));
    expect(room.freeBytes).toBe(40_000);
    rig.send(frame(T.rst, 0, 1, u32(8)));
    expect(room.freeBytes).toBe(100_000);
  });
});

describe("the head of a call", () => {
  it.each([
    ["5S", 5000],
    ["99999999H", 99_999_999 * 3_600_000],
    ["2M", 120_000],
    ["0m", 0],
    ["1500u", 2],
    ["1n", 1],
    ["123456789S", null],
    ["S", null],
    ["-1S", null],
    ["5 S", null],
    ["soon", null],
  ])("the timeout %s is %s ms", (value, ms) => {
    expect(parseTimeout(value)).toBe(ms);
  });

  it("knows gRPC by its content type", () => {
    const types = ["application/grpc", "application/grpc+proto", "application/grpc;charset=x"];
    expect(types.map(isGrpc)).toEqual([true, true, true]);
    const others = ["application/grpc-web", "application/json", "", "application/grp"];
    expect(others.map(isGrpc)).toEqual([false, false, false, false]);
  });

  it("metadata is the first value of a name, and of a binary one its bytes", () => {
    const fields = [
      headerField("a", "1"),
      headerField("a", "2"),
      headerField("b-bin", "AP8="),
      headerField("c-bin", "AP8B,AAAA"),
      headerField("d-bin", "!"),
      headerField("e-bin", "AAAAA"),
      headerField("f-bin", ""),
    ];
    const values = ["a", "b-bin", "c-bin", "d-bin", "e-bin", "f-bin", "g"].map((name) =>
      metadataValue(fields, name),
    );
    expect(values).toEqual([
      "1",
      "\0\u00ff",
      "\0\u00ff\u0001",
      undefined,
      undefined,
      "",
      undefined,
    ]);
  });
});
