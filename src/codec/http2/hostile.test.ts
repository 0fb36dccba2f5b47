/** What a client may do wrong or in bad faith, one at a time, and the exact code that it is told. */
import { describe, expect, it } from "vitest";
import {
  ascii,
  bytes,
  F,
  field,
  frame,
  GREETING,
  head,
  request,
  settings,
  T,
  TestPeer,
  u32,
} from "./peer.suite.ts";

const CODE = {
  protocol: 1,
  flowControl: 3,
  streamClosed: 5,
  frameSize: 6,
  refused: 7,
  compression: 9,
  calm: 11,
} as const;

const many = (count: number, make: (i: number) => Uint8Array): Uint8Array =>
  bytes(...Array.from({ length: count }, (_, i) => make(i)));

describe("breaks the connection", () => {
  it.each<[string, number, ...Uint8Array[]]>([
    ["DATA on stream 0", CODE.protocol, frame(T.data, 0, 0, ascii("x"))],
    ["DATA on a stream that was not opened", CODE.protocol, frame(T.data, 0, 1, ascii("x"))],
    [
      "DATA with more padding than frame",
      CODE.protocol,
      request(1, 0),
      frame(T.data, F.padded, 1, bytes(5, 1, 2)),
    ],
    [
      "DATA, padded, without a length of padding",
      CODE.protocol,
      request(1, 0),
      frame(T.data, F.padded, 1),
    ],
    ["HEADERS on stream 0", CODE.protocol, request(0)],
    ["HEADERS on an even stream", CODE.protocol, request(2)],
    ["HEADERS on a stream below the last one", CODE.streamClosed, request(5, 0), request(3)],
    [
      "HEADERS with more padding than frame",
      CODE.protocol,
      frame(T.headers, F.padded | F.endHeaders, 1, bytes(9, 0x83)),
    ],
    [
      "HEADERS with a priority that is not there",
      CODE.protocol,
      frame(T.headers, F.priority | F.endHeaders, 1, bytes(0, 0)),
    ],
    [
      "HEADERS, then something else than its CONTINUATION",
      CODE.protocol,
      frame(T.headers, 0, 1, head()),
      frame(T.ping, 0, 0, new Uint8Array(8)),
    ],
    [
      "CONTINUATION of another stream",
      CODE.protocol,
      frame(T.headers, 0, 1, head()),
      frame(T.continuation, F.endHeaders, 3),
    ],
    ["CONTINUATION of nothing", CODE.protocol, frame(T.continuation, F.endHeaders, 1, head())],
    ["RST_STREAM on a stream that was not opened", CODE.protocol, frame(T.rst, 0, 1, u32(8))],
    ["RST_STREAM of a wrong length", CODE.frameSize, request(1, 0), frame(T.rst, 0, 1, bytes(0))],
    ["SETTINGS on a stream", CODE.protocol, frame(T.settings, 0, 1)],
    ["SETTINGS of a wrong length", CODE.frameSize, frame(T.settings, 0, 0, bytes(0, 1, 0, 0, 0))],
    [
      "SETTINGS ACK with something in it",
      CODE.frameSize,
      frame(T.settings, F.ack, 0, bytes(0, 1, 0, 0, 0, 0)),
    ],
    ["SETTINGS: push neither on nor off", CODE.protocol, settings([2, 2])],
    ["SETTINGS: a window beyond 2^31 - 1", CODE.flowControl, settings([4, 0x8000_0000])],
    ["SETTINGS: frames shorter than 16 KiB", CODE.protocol, settings([5, 16_383])],
    ["SETTINGS: frames longer than can be", CODE.protocol, settings([5, 0x100_0000])],
    [
      "PUSH_PROMISE",
      CODE.protocol,
      request(1, 0),
      frame(T.push, F.endHeaders, 1, bytes(0, 0, 0, 2, 0x82)),
    ],
    ["PING on a stream", CODE.protocol, frame(T.ping, 0, 1, new Uint8Array(8))],
    ["PING of a wrong length", CODE.frameSize, frame(T.ping, 0, 0, new Uint8Array(7))],
    ["GOAWAY on a stream", CODE.protocol, frame(T.goaway, 0, 1, new Uint8Array(8))],
    ["GOAWAY of a wrong length", CODE.frameSize, frame(T.goaway, 0, 0, new Uint8Array(7))],
    ["PRIORITY on stream 0", CODE.protocol, frame(T.priority, 0, 0, new Uint8Array(5))],
    ["PRIORITY of a wrong length", CODE.frameSize, frame(T.priority, 0, 1, new Uint8Array(4))],
    ["WINDOW_UPDATE of a wrong length", CODE.frameSize, frame(T.window, 0, 0, new Uint8Array(3))],
    ["WINDOW_UPDATE of the connection by nothing", CODE.protocol, frame(T.window, 0, 0, u32(0))],
    [
      "WINDOW_UPDATE of the connection beyond 2^31 - 1",
      CODE.flowControl,
      frame(T.window, 0, 0, u32(0x7fff_ffff)),
    ],
    [
      "WINDOW_UPDATE of a stream that was not opened",
      CODE.protocol,
      frame(T.window, 0, 1, u32(5000)),
    ],
    [
      "SETTINGS that move a stream's window beyond 2^31 - 1",
      CODE.flowControl,
      request(1, 0),
      frame(T.window, 0, 1, u32(0x7fff_0000)),
      settings([4, 0x7fff_ffff]),
    ],
    [
      "a frame of 16 KiB and a byte, before it has come",
      CODE.frameSize,
      frame(T.data, 0, 1, new Uint8Array(16_385)).subarray(0, 9),
    ],
    ["a field that no table has", CODE.compression, request(1, 0, bytes(0x80 | 100))],
    ["a field of number 0", CODE.compression, request(1, 0, bytes(0x80))],
    [
      "a number without end",
      CODE.compression,
      request(1, 0, bytes(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)),
    ],
    ["a text longer than its block", CODE.compression, request(1, 0, bytes(0, 5, "ab"))],
    ["a text that is not there at all", CODE.compression, request(1, 0, bytes(0))],
    ["a table larger than we keep", CODE.compression, request(1, 0, bytes(0x3f, 0xe2, 0x1f))],
    ["a new size of the table after a field", CODE.compression, request(1, 0, bytes(0x83, 0x20))],
    [
      "Huffman code with the end of string in it",
      CODE.compression,
      request(1, 0, bytes(0, 0x84, 0xff, 0xff, 0xff, 0xff, 0)),
    ],
    ["Huffman code padded with zeros", CODE.compression, request(1, 0, bytes(0, 0x81, 0x00, 0))],
    [
      "Huffman code padded by a whole byte",
      CODE.compression,
      request(1, 0, bytes(0, 0x82, 0x1f, 0xff, 0)),
    ],
  ])("%s", (_name, code, ...frames) => {
    const peer = TestPeer.greeted();
    peer.send(...frames);
    expect(peer.told().at(-1)).toMatch(new RegExp(`^GOAWAY ${code} `));
    expect(peer.finished).toBe(1);
    expect(peer.connection.fault?.code).toBe(code);
    // What comes after it is not looked at.
    peer.send(request(99));
    expect(peer.told()).toEqual([]);
    expect(peer.events.filter((event) => event.startsWith("request 99"))).toEqual([]);
  });

  it.each<[string, Uint8Array]>([
    ["PING", frame(T.ping, 0, 0, new Uint8Array(8))],
    ["an ACK", frame(T.settings, F.ack, 0)],
    ["HEADERS", request(1)],
  ])("%s before SETTINGS", (_name, first) => {
    const peer = new TestPeer();
    peer.send(GREETING, first);
    expect(peer.told().at(-1)).toBe(`GOAWAY ${CODE.protocol} after 0`);
  });
});

describe("costs the stream only", () => {
  it.each<[string, number, number, ...Uint8Array[]]>([
    ["DATA after the end", CODE.streamClosed, 1, request(1), frame(T.data, 0, 1, ascii("x"))],
    [
      "trailers after the end",
      CODE.streamClosed,
      1,
      request(1),
      request(1, F.endStream, field("a", "b")),
    ],
    ["trailers that do not end", CODE.protocol, 1, request(1, 0), request(1, 0, field("a", "b"))],
    [
      "trailers with a pseudo-header",
      CODE.protocol,
      1,
      request(1, 0),
      request(1, F.endStream, bytes(0x83)),
    ],
    ["WINDOW_UPDATE by nothing", CODE.protocol, 1, request(1, 0), frame(T.window, 0, 1, u32(0))],
    [
      "WINDOW_UPDATE beyond 2^31 - 1",
      CODE.flowControl,
      1,
      request(1, 0),
      frame(T.window, 0, 1, u32(0x7fff_ffff)),
    ],
    [
      "more DATA than its window",
      CODE.flowControl,
      1,
      request(1, 0),
      ...Array.from({ length: 4 }, () => frame(T.data, 0, 1, new Uint8Array(16_384))),
    ],
    [
      "a body shorter than promised",
      CODE.protocol,
      1,
      request(1, 0, head("/s/m", field("content-length", "9"))),
      frame(T.data, F.endStream, 1, ascii("x")),
    ],
    [
      "a content-length that is none",
      CODE.protocol,
      1,
      request(1, 0, head("/s/m", field("content-length", "-1"))),
    ],
    ["no method", CODE.protocol, 1, request(1, 0, bytes(0x84, 0x86))],
    ["no path", CODE.protocol, 1, request(1, 0, bytes(0x83, 0x86))],
    ["an empty path", CODE.protocol, 1, request(1, 0, bytes(0x83, 0x86, field(":path", "")))],
    ["no scheme", CODE.protocol, 1, request(1, 0, bytes(0x83, 0x84))],
    ["two methods", CODE.protocol, 1, request(1, 0, head("/", bytes(0x83)))],
    ["two paths", CODE.protocol, 1, request(1, 0, bytes(0x83, 0x84, 0x86, 0x84))],
    [
      "a pseudo-header after others",
      CODE.protocol,
      1,
      request(1, 0, head("/", field(":authority", "a"))),
    ],
    [
      "an unknown pseudo-header",
      CODE.protocol,
      1,
      request(1, 0, bytes(0x83, 0x84, 0x86, field(":x", "a"))),
    ],
    ["a pseudo-header of answers", CODE.protocol, 1, request(1, 0, bytes(0x83, 0x84, 0x86, 0x88))],
    ["a name with capitals", CODE.protocol, 1, request(1, 0, head("/", field("Abc", "a")))],
    ["a name without letters", CODE.protocol, 1, request(1, 0, head("/", field("", "a")))],
    ["a line break in a value", CODE.protocol, 1, request(1, 0, head("/", field("a", "b\r\nc")))],
    ["connection: close", CODE.protocol, 1, request(1, 0, head("/", field("connection", "close")))],
    ["te: gzip", CODE.protocol, 1, request(1, 0, head("/", field("te", "gzip")))],
  ])("%s", (_name, code, id, ...frames) => {
    const peer = TestPeer.greeted();
    peer.send(...frames);
    expect(peer.told().at(-1)).toBe(`RST ${code} on ${id}`);
    expect(peer.connection.fault).toBeNull();
    // The others do not notice, and the table of headers is as it should be.
    peer.send(request(99));
    expect(peer.events.at(-1)).toBe("half-closed 99 after 0");
    const opened = peer.events.filter((event) => event.startsWith("request 1 ")).length;
    expect(peer.events.filter((event) => event === "closed 1")).toHaveLength(opened);
  });

  it("what was on its way to a stream that we reset is taken quietly", () => {
    const peer = TestPeer.greeted();
    peer.send(request(1, 0), frame(T.window, 0, 1, u32(0)));
    expect(peer.told()).toEqual([`RST ${CODE.protocol} on 1`]);
    peer.send(frame(T.data, 0, 1, ascii("x")), request(1, F.endStream, field("a", "b")));
    expect([peer.told(), peer.connection.fault]).toEqual([[], null]);
  });

  it("a call beyond the limit is refused before anybody looks at it", () => {
    const peer = TestPeer.greeted({ maxConcurrentStreams: 2 });
    peer.send(request(1, 0), request(3, 0), request(5, 0));
    expect(peer.told()).toEqual([`RST ${CODE.refused} on 5`]);
    peer.send(frame(T.rst, 0, 1, u32(8)), request(7, 0));
    expect(peer.events.at(-1)).toBe("request 7 POST /s/m");
  });

  it("headers beyond the limit are answered RESOURCE_EXHAUSTED, and the table keeps its order", () => {
    const peer = TestPeer.greeted({ maxHeaderListBytes: 500 });
    // Remembered on the way, although the request is refused: 62 is "k: v" afterwards.
    const remembered = bytes(0x40, 1, "k", 1, "v");
    peer.send(request(1, F.endStream, head("/big", field("x", "y".repeat(500)), remembered)));
    const [answer] = peer.frames();
    expect(answer).toMatchObject({
      type: T.headers,
      flags: F.endHeaders | F.endStream,
      streamId: 1,
    });
    expect(String.fromCharCode(...(answer?.payload ?? []))).toContain("grpc-status\u00018");
    let seen: string | undefined;
    peer.onRequest = (_stream, { fields }) => {
      seen = fields.at(-1)?.value;
    };
    peer.send(request(3, F.endStream, head("/s/m", bytes(0x80 | 62))));
    expect(seen).toBe("v");
  });
});

describe("floods end with ENHANCE_YOUR_CALM", () => {
  const calm = (peer: TestPeer): void => {
    expect(peer.told().at(-1)).toMatch(new RegExp(`^GOAWAY ${CODE.calm} `));
    expect(peer.connection.fault?.code).toBe(CODE.calm);
  };
  const few = { burst: 20, perSecond: 10 };

  it.each<[string, (i: number) => Uint8Array]>([
    ["pings", () => frame(T.ping, 0, 0, new Uint8Array(8))],
    ["settings", () => settings([4, 70_000])],
    ["acknowledged settings that were never sent", () => frame(T.settings, F.ack, 0)],
    ["priorities", () => frame(T.priority, 0, 1, bytes(u32(3), 1))],
    ["frames of unknown types", () => frame(77, 0, 0)],
    ["empty DATA", () => frame(T.data, 0, 1)],
    ["windows opened by crumbs", () => frame(T.window, 0, 1, u32(1))],
    ["resets of streams that are closed", () => frame(T.rst, 0, 3, u32(8))],
  ])("%s", (_name, make) => {
    const peer = TestPeer.greeted({ control: few });
    peer.send(request(3), frame(T.rst, 0, 3, u32(8)), request(5, 0));
    peer.send(
      many(21, (i) =>
        make(i)[3] === T.data
          ? frame(T.data, 0, 5)
          : make(i)[3] === T.window
            ? frame(T.window, 0, 5, u32(1))
            : make(i),
      ),
    );
    calm(peer);
  });

  it("with time, and by answers, a client earns them back", () => {
    const peer = TestPeer.greeted({ control: few });
    const ping = frame(T.ping, 0, 0, new Uint8Array(8));
    for (let second = 0; second < 10; second++) {
      peer.nowMs += 1000;
      peer.send(many(10, () => ping));
    }
    expect(peer.connection.fault).toBeNull();
    for (let i = 0; i < 20; i++) {
      peer.send(request(1 + i * 2));
      peer.streams.get(1 + i * 2)?.end({ code: 0, message: "" });
      peer.send(many(4, () => ping));
    }
    expect(peer.connection.fault).toBeNull();
    peer.send(many(21, () => ping));
    calm(peer);
  });

  it("rest saves nothing up beyond the burst", () => {
    const peer = TestPeer.greeted({ control: few });
    const ping = frame(T.ping, 0, 0, new Uint8Array(8));
    peer.send(ping);
    peer.nowMs = 3_600_000;
    peer.send(many(20, () => ping));
    expect(peer.connection.fault).toBeNull();
    peer.send(ping);
    calm(peer);
  });

  it("calls that are opened and reset at once", () => {
    const peer = TestPeer.greeted({ resets: few });
    peer.send(many(21, (i) => bytes(request(1 + i * 2, 0), frame(T.rst, 0, 1 + i * 2, u32(8)))));
    calm(peer);
    expect(peer.events.filter((event) => event.startsWith("closed"))).toHaveLength(21);
  });

  it("calls that we have to reset for what is done to them", () => {
    const peer = TestPeer.greeted({ resets: few });
    peer.send(many(21, (i) => bytes(request(1 + i * 2, 0), frame(T.window, 0, 1 + i * 2, u32(0)))));
    calm(peer);
  });

  it("CONTINUATION frames without end, empty ones too", () => {
    const empty = TestPeer.greeted();
    empty.send(
      frame(T.headers, 0, 1, head()),
      many(17, () => frame(T.continuation, 0, 1)),
    );
    calm(empty);
    const full = TestPeer.greeted();
    full.send(
      frame(T.headers, 0, 1, head()),
      many(3, () => frame(T.continuation, 0, 1, new Uint8Array(16_000))),
    );
    calm(full);
  });

  it("answers that are not read: a window of nothing, and calls that go on", () => {
    const peer = TestPeer.greeted({ maxWaitingBytes: 10_000 }, [4, 0]);
    const answer = new Uint8Array(3000);
    for (let id = 1; peer.connection.fault === null && id < 30; id += 2) {
      peer.send(request(id));
      peer.streams.get(id)?.sendMessage(answer);
    }
    calm(peer);
    expect(peer.streams.size).toBeGreaterThan(3);
    expect(peer.streams.size).toBeLessThan(7);
  });

  it("answers that are not read: a socket that takes nothing", () => {
    const peer = TestPeer.greeted({ maxWaitingBytes: 10_000 });
    for (let id = 1; peer.connection.fault === null && id < 30; id += 2) {
      peer.send(request(id));
      peer.streams.get(id)?.sendMessage(new Uint8Array(3000));
      peer.connection.outbound.take();
    }
    expect(peer.connection.fault?.code).toBe(CODE.calm);
  });
});
