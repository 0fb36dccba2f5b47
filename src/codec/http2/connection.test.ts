/** The connection as a machine: whole calls, any split of the bytes, any bytes at all, windows, the end. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { equalBytes } from "../../base/index.ts";
import {
  ascii,
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
  TestPeer,
  u32,
} from "./peer.suite.ts";

const OK = { code: 0, message: "" };
const text = (payload: Uint8Array): string => String.fromCharCode(...payload);
const body = (id: number, size: number, flags = 0): Uint8Array =>
  frame(T.data, flags, id, new Uint8Array(size));

/** All DATA of one stream, joined. */
function dataOf(output: Uint8Array, id: number): Uint8Array {
  return bytes(
    ...framesOf(output)
      .filter((one) => one.type === T.data && one.streamId === id)
      .map((one) => one.payload),
  );
}

describe("one call", () => {
  it("is a greeting, a request, an answer of three frames", () => {
    const peer = new TestPeer();
    peer.send(GREETING, settings([1, 4096]));
    expect(peer.told()).toEqual(["SETTINGS", "SETTINGS ACK"]);
    peer.send(request(1, 0), frame(T.data, F.endStream, 1, message(ascii("hello"))));
    expect(peer.events).toEqual(["request 1 POST /s/m", "half-closed 1 after 10"]);
    peer.streams.get(1)?.sendMessage(ascii("hi"));
    peer.streams.get(1)?.end(OK);
    expect(peer.told()).toEqual(["HEADERS on 1", "DATA 7 on 1", "HEADERS on 1 END"]);
    expect(peer.events.at(-1)).toBe("closed 1");
    expect(peer.connection.calls).toBe(0);
  });

  it("that fails is one frame; of plain HTTP too", () => {
    const peer = TestPeer.greeted();
    peer.onHalfClosed = (stream) =>
      stream.id === 1
        ? stream.end({ code: 5, message: "not here" }, { "x-more": "1" })
        : stream.endPlain(415, { accept: "application/grpc" });
    peer.send(request(1), request(3));
    const [first, second] = peer.frames();
    expect(text(first?.payload ?? ascii(""))).toContain("grpc-message\bnot here");
    expect(text(first?.payload ?? ascii(""))).toContain("x-more\u00011");
    expect(text(second?.payload ?? ascii(""))).toContain("415");
  });

  it("answered before the client has ended is reset with NO_ERROR, and what still comes is taken quietly", () => {
    const peer = TestPeer.greeted();
    peer.onRequest = (stream) => stream.end({ code: 12, message: "" });
    peer.send(request(1, 0), body(1, 100), request(1, F.endStream, field("a", "b")));
    expect(peer.told()).toEqual(["HEADERS on 1 END", "RST 0 on 1"]);
    expect(peer.events).toEqual(["request 1 POST /s/m", "closed 1"]);
    expect(peer.connection.fault).toBeNull();
  });

  it("any authority and any scheme, padding, priority, trailers, and a header block in three frames", () => {
    const peer = TestPeer.greeted();
    const url = field(":authority", "http://127.0.0.1:2379");
    const block = bytes(
      0x83,
      field(":scheme", "gopher"),
      field(":path", "/s/m"),
      url,
      head().slice(-1).fill(0x90),
    );
    peer.send(
      frame(
        T.headers,
        F.priority | F.padded,
        1,
        bytes(3, u32(0), 7, block.subarray(0, 9), 0, 0, 0),
      ),
      frame(T.continuation, 0, 1, block.subarray(9, 20)),
      frame(T.continuation, F.endHeaders, 1, block.subarray(20)),
      frame(T.data, F.padded, 1, bytes(2, "abc", 0, 0)),
      request(1, F.endStream, field("x", "y")),
    );
    expect(peer.connection.fault).toBeNull();
    expect(peer.events).toEqual(["request 1 POST /s/m", "half-closed 1 after 3"]);
  });

  it("frames of unknown types and unknown settings are stepped over; pings are answered with their own bytes", () => {
    const peer = TestPeer.greeted();
    peer.send(frame(200, 255, 7, ascii("?")), settings([99, 1]));
    peer.send(frame(T.ping, 0, 0, ascii("12345678")));
    const pong = peer.frames().at(-1);
    expect([pong?.type, pong?.flags, text(pong?.payload ?? ascii(""))]).toEqual([
      T.ping,
      F.ack,
      "12345678",
    ]);
    peer.connection.ping();
    expect(peer.told()).toEqual(["PING"]);
    peer.send(frame(T.ping, F.ack, 0, new Uint8Array(8)));
    expect(peer.connection.pings).toBe(1);
  });
});

describe("any bytes", () => {
  /** A conversation with everything in it; answers are made as requests come. */
  const conversation = bytes(
    GREETING,
    settings([4, 30]),
    request(1, 0, head("/s/m", field("x", "1"))),
    body(1, 20),
    frame(T.headers, 0, 3, head("/other").subarray(0, 7)),
    frame(T.continuation, F.endHeaders, 3, head("/other").subarray(7)),
    frame(T.data, F.padded | F.endStream, 3, bytes(4, "abc", 0, 0, 0, 0)),
    frame(T.ping, 0, 0, new Uint8Array(8)),
    frame(T.window, 0, 0, u32(1000)),
    frame(T.window, 0, 3, u32(1000)),
    body(1, 300, F.endStream),
    frame(T.priority, 0, 5, new Uint8Array(5)),
    request(5, 0),
    frame(T.rst, 0, 5, u32(8)),
    settings([4, 5000]),
    request(7),
    frame(T.data, 0, 7, ascii("x")),
    frame(T.goaway, 0, 0, new Uint8Array(8)),
    frame(99, 0, 0, ascii("?")),
    request(2),
  );

  function play(pieces: readonly Uint8Array[]): readonly unknown[] {
    const peer = new TestPeer();
    peer.onHalfClosed = (stream) => {
      stream.sendMessage(new Uint8Array(50));
      stream.end(OK);
    };
    peer.send(...pieces);
    return [
      peer.events,
      [...peer.received],
      [...peer.output()],
      peer.connection.fault,
      peer.finished,
    ];
  }

  it("split anywhere give the same events and the same answers", () => {
    const whole = play([conversation]);
    expect(whole.at(-2)).toMatchObject({ code: 1 });
    fc.assert(
      fc.property(fc.array(fc.nat({ max: conversation.length }), { maxLength: 30 }), (cuts) => {
        const sorted = [0, ...cuts.sort((a, b) => a - b), conversation.length];
        const pieces = sorted.slice(1).map((end, i) => conversation.slice(sorted[i], end));
        expect(play(pieces)).toEqual(whole);
      }),
      { numRuns: 200 },
    );
    expect(play([...conversation].map((byte) => Uint8Array.of(byte)))).toEqual(whole);
  });

  const anyFrame = fc
    .record({
      type: fc.oneof(fc.nat({ max: 10 }), fc.constantFrom(0, 1, 8, 9)),
      flags: fc.oneof(fc.constantFrom(0, 1, 4, 5), fc.nat({ max: 255 })),
      streamId: fc.oneof(fc.constantFrom(0, 1, 3, 5), fc.nat({ max: 20 })),
      payload: fc.oneof(
        fc.uint8Array({ maxLength: 40 }),
        fc.constantFrom(head(), u32(1), u32(0x7fff_ffff), new Uint8Array(8)),
      ),
    })
    .map(({ type, flags, streamId, payload }) => frame(type, flags, streamId, payload));

  it("as frames of any kind never throw and never leave a stream behind", () => {
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 40 }), fc.boolean(), (frames, answers) => {
        const peer = TestPeer.greeted({
          maxConcurrentStreams: 4,
          control: { burst: 50, perSecond: 0 },
        });
        if (answers)
          peer.onRequest = (stream) => {
            stream.sendMessage(new Uint8Array(70_000));
            stream.end(OK);
          };
        peer.send(...frames);
        const { fault } = peer.connection;
        expect(peer.finished).toBe(fault === null ? 0 : 1);
        peer.connection.lost();
        const count = (what: string): number =>
          peer.events.filter((event) => event.startsWith(what)).length;
        expect(count("closed")).toBe(count("request"));
        expect(peer.connection.calls).toBe(0);
      }),
      { numRuns: 400 },
    );
  });

  it("as bytes of any kind never throw", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 100 })), fc.boolean(), (pieces, greets) => {
        const peer = greets ? TestPeer.greeted() : new TestPeer();
        peer.send(...pieces);
        peer.connection.lost();
      }),
      { numRuns: 300 },
    );
  });
});

describe("what is not HTTP/2", () => {
  it.each([
    ["GET / HTTP/1.1\r\n", true],
    ["POST /v3/kv/put HTTP/1.1\r\n", true],
    ["PUT /", true],
    ["PRI * HTTP/1.1\r\n", true],
    ["OPTIONS * HTTP/1.1\r\n", true],
    ["*1\r\n$4\r\nPING\r\n", false],
    ["\u0016\u0003\u0001", false],
    ["get / http", false],
    ["PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", true],
  ])("%j is told so: %s", (begin, isTold) => {
    const peer = new TestPeer();
    peer.send(ascii(begin));
    const output = text(peer.output());
    if (isTold) expect(output).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n[\s\S]*gRPC over HTTP\/2/);
    else expect(output).toBe("");
    expect(peer.finished).toBe(1);
  });

  it("nothing is said before the greeting is whole", () => {
    const peer = new TestPeer();
    peer.send(GREETING.subarray(0, 20));
    expect(peer.output()).toHaveLength(0);
    peer.send(GREETING.subarray(20));
    expect(peer.told()).toEqual(["SETTINGS"]);
    expect(peer.connection.isGreeted).toBe(false);
  });
});

describe("the client's windows", () => {
  it("are kept to the byte, for any message and any steps", () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 100 }),
        fc.array(fc.nat({ max: 20_000 }), { minLength: 1, maxLength: 4 }),
        fc.array(
          fc.record({
            id: fc.constantFrom(0, 1, 3, "initial" as const),
            by: fc.integer({ min: 1, max: 50_000 }),
          }),
          { maxLength: 30 },
        ),
        (initial, sizes, steps) => {
          const peer = TestPeer.greeted({}, [4, initial]);
          peer.send(request(1), request(3));
          const sent = bytes(...sizes.map((size) => message(new Uint8Array(size).fill(size))));
          for (const id of [1, 3]) {
            for (const size of sizes)
              peer.streams.get(id)?.sendMessage(new Uint8Array(size).fill(size));
            peer.streams.get(id)?.end(OK);
          }
          const windows = new Map([
            [0, 65_535],
            [1, initial],
            [3, initial],
          ]);
          let begin = initial;
          const got = new Map<number, Uint8Array>([
            [1, new Uint8Array(0)],
            [3, new Uint8Array(0)],
          ]);
          const take = (): void => {
            const output = peer.output();
            for (const id of [1, 3]) {
              const data = dataOf(output, id);
              got.set(id, bytes(got.get(id) as Uint8Array, data));
              for (const window of [0, id])
                windows.set(window, (windows.get(window) as number) - data.length);
              if (data.length > 0) expect(windows.get(id)).toBeGreaterThanOrEqual(0);
            }
            expect(windows.get(0)).toBeGreaterThanOrEqual(0);
          };
          take();
          for (const { id, by } of steps) {
            if (id === "initial") {
              for (const stream of [1, 3])
                windows.set(stream, (windows.get(stream) as number) + by - begin);
              begin = by;
              peer.send(settings([4, by]));
            } else {
              windows.set(id, (windows.get(id) as number) + by);
              peer.send(frame(T.window, 0, id, u32(by)));
            }
            take();
          }
          // Wide open, all of it comes, once and in order.
          peer.send(frame(T.window, 0, 0, u32(1_000_000)));
          for (const id of [1, 3]) {
            peer.send(frame(T.window, 0, id, u32(1_000_000)));
            windows.set(id, (windows.get(id) as number) + 1_000_000);
          }
          windows.set(0, (windows.get(0) as number) + 1_000_000);
          take();
          for (const id of [1, 3]) expect(equalBytes(got.get(id) as Uint8Array, sent)).toBe(true);
          expect(peer.events.filter((event) => event.startsWith("closed"))).toHaveLength(2);
        },
      ),
      { numRuns: 100 },
    );
  });

  it("small messages are counted like large ones, on their stream and on the connection", () => {
    const wide = TestPeer.greeted({}, [4, 1_000_000]);
    wide.send(request(1), request(3));
    for (let i = 0; i < 100; i++)
      wide.streams.get(i % 2 === 0 ? 1 : 3)?.sendMessage(new Uint8Array(995));
    const output = wide.output();
    expect(dataOf(output, 1).length + dataOf(output, 3).length).toBe(65_535);
    const narrow = TestPeer.greeted({}, [4, 10_000]);
    narrow.send(request(1));
    for (let i = 0; i < 100; i++) narrow.streams.get(1)?.sendMessage(new Uint8Array(995));
    expect(dataOf(narrow.output(), 1)).toHaveLength(10_000);
  });

  it("streams that wait for the connection's window take turns", () => {
    const peer = TestPeer.greeted({}, [4, 1_000_000]);
    peer.send(request(1), request(3), request(5));
    for (const id of [1, 3, 5]) peer.streams.get(id)?.sendMessage(new Uint8Array(100_000));
    peer.output();
    peer.send(frame(T.window, 0, 0, u32(16_384 * 4)));
    expect(peer.told()).toEqual([1, 3, 5, 1].map((id) => `DATA 16384 on ${id}`));
  });

  it("a stream hears when what it sent has left, and when the socket is free again", () => {
    const peer = TestPeer.greeted({}, [4, 100]);
    peer.send(request(1));
    const stream = peer.streams.get(1);
    stream?.sendMessage(new Uint8Array(200));
    expect(stream?.isWritable).toBe(false);
    peer.send(frame(T.window, 0, 1, u32(5_000_000)), frame(T.window, 0, 0, u32(5_000_000)));
    expect(peer.events.at(-1)).toBe("writable 1");
    peer.output();
    stream?.sendMessage(new Uint8Array(2_000_000));
    expect(stream?.isWritable).toBe(false);
    const { outbound } = peer.connection;
    const waiting = outbound.waitingBytes;
    outbound.take();
    peer.events.length = 0;
    peer.connection.flushed(waiting);
    expect(peer.events).toEqual(["writable 1"]);
  });
});

describe("the end", () => {
  it("drain names the last call, lets it finish, takes no more, and is finished then", () => {
    const peer = TestPeer.greeted();
    peer.send(request(1, 0));
    peer.connection.drain();
    expect(peer.told()).toEqual(["GOAWAY 0 after 1"]);
    peer.send(request(3, 0), body(3, 5), body(1, 5, F.endStream));
    expect(peer.events).toEqual(["request 1 POST /s/m", "half-closed 1 after 5"]);
    expect(peer.finished).toBe(0);
    peer.streams.get(1)?.end(OK);
    expect(peer.told()).toEqual(["HEADERS on 1", "HEADERS on 1 END"]);
    expect([peer.finished, peer.connection.fault]).toEqual([1, null]);
  });

  it("draining again says nothing again", () => {
    const peer = TestPeer.greeted();
    peer.send(request(1));
    peer.connection.drain();
    peer.connection.drain();
    expect(peer.told()).toEqual(["GOAWAY 0 after 1"]);
  });

  it("drain of an idle connection, and of one that never spoke, is the end", () => {
    const idle = TestPeer.greeted();
    idle.connection.drain();
    expect([idle.told(), idle.finished]).toEqual([["GOAWAY 0 after 0"], 1]);
    const silent = new TestPeer();
    silent.connection.drain();
    expect([silent.told(), silent.finished]).toEqual([[], 1]);
  });

  it("a lost connection closes every call once, and answers go nowhere", () => {
    const peer = TestPeer.greeted();
    peer.send(request(1), request(3, 0));
    peer.connection.lost();
    peer.streams.get(1)?.sendMessage(ascii("late"));
    peer.streams.get(1)?.end(OK);
    peer.connection.lost();
    expect(peer.events.slice(-2)).toEqual(["closed 1", "closed 3"]);
    expect(peer.output()).toHaveLength(0);
  });
});
