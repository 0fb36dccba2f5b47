/** The transport alone, over real sockets: what clients may do to it, and how it ends. */
import http2 from "node:http2";
import net from "node:net";
import { Duplex } from "node:stream";
import {
  Client,
  credentials,
  type ClientOptions,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import { afterEach, describe, expect, it, vi } from "vitest";
import { EMPTY_BYTES } from "../../base/index.ts";
import { HeldRoom, HTTP2_LIMITS } from "../../codec/index.ts";
import {
  bytes,
  frame,
  framesOf,
  GREETING,
  head,
  request,
  settings,
  T,
  u32,
} from "../../codec/http2/peer.suite.ts";
import { GrpcConnection } from "./connection.ts";
import type { Method, StreamCall, UnaryReply } from "./method.ts";
import { memoryLog } from "./fake-database.suite.ts";
import { listenGrpc, type Transport, type TransportOptions } from "./transport.ts";

const ECHO = "/test.T/Echo";
const HOLD = "/test.T/Hold";
const THROW = "/test.T/Throw";
const CHAT = "/test.T/Chat";
const FEED = "/test.T/Feed";

/** What the test's methods saw. */
interface Seen {
  readonly held: { readonly reply: UnaryReply; readonly signal: AbortSignal }[];
  readonly streams: StreamCall[];
  readonly metadata: (string | undefined)[];
  readonly binary: string[];
  closed: number;
  /** Of the chat streams. */
  messages: number;
}

function methodsOf(seen: Seen): readonly Method[] {
  return [
    {
      kind: "unary",
      path: ECHO,
      handle: (request, call, reply) => {
        seen.metadata.push(call.metadata("x-test"));
        const binary = call.metadata("x-test-bin");
        if (binary !== undefined) seen.binary.push(binary);
        if (request[0] === 0xff)
          reply({ code: 9, message: "etcdserver: 100 % naïve" }, EMPTY_BYTES);
        else reply(null, request);
      },
    },
    {
      kind: "unary",
      path: HOLD,
      handle: (_request, call, reply) => {
        seen.held.push({ reply, signal: call.signal as AbortSignal });
      },
    },
    {
      kind: "unary",
      path: THROW,
      handle: () => {
        throw new Error("a defect");
      },
    },
    {
      kind: "bidi",
      path: CHAT,
      open: (call) => {
        seen.streams.push(call);
        return {
          message: (request, done) => {
            seen.messages++;
            if (request[0] === 0xff) call.end({ code: 9, message: "enough" });
            call.send(request);
            // Not at once, so that only waiting for it keeps the answers in order.
            setImmediate(done);
          },
          halfClosed: () => call.end(null),
          closed: () => seen.closed++,
        };
      },
    },
    {
      kind: "serverStream",
      path: FEED,
      open: (call) => {
        seen.streams.push(call);
        return {
          message: (request, done) => {
            for (let i = 0; i < (request[0] ?? 0); i++) call.send(Uint8Array.of(i));
            done();
          },
          halfClosed: () => {},
          closed: () => seen.closed++,
        };
      },
    },
  ];
}

const cleanups: (() => void | Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Rig {
  readonly seen: Seen;
  readonly transport: Transport;
  readonly port: number;
  readonly log: ReturnType<typeof memoryLog>;
}

async function start(options: Partial<TransportOptions> = {}): Promise<Rig> {
  const seen: Seen = { held: [], streams: [], metadata: [], binary: [], closed: 0, messages: 0 };
  const log = memoryLog();
  const transport = await listenGrpc(
    methodsOf(seen),
    {
      urls: ["http://127.0.0.1:0"],
      maxMessageBytes: 1000,
      maxConcurrentStreams: 100,
      connectionIdleMs: 60_000,
      ...options,
    },
    log.sink,
  );
  let closed: Promise<void> | null = null;
  const close = (graceMs: number): Promise<void> => (closed ??= transport.close(graceMs));
  cleanups.push(() => close(0));
  return {
    seen,
    transport: { ...transport, close },
    port: Number(new URL(transport.addresses[0] as string).port),
    log,
  };
}

const toBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes);

function connect(rig: Rig, options: ClientOptions = {}): Client {
  const client = new Client(`127.0.0.1:${rig.port}`, credentials.createInsecure(), options);
  cleanups.push(() => client.close());
  return client;
}

interface Answer {
  readonly error: ServiceError | null;
  readonly response: number[] | undefined;
}

function ask(
  client: Client,
  path: string,
  request: Uint8Array,
  deadlineMs?: number,
): Promise<Answer> {
  return new Promise((resolve) => {
    const options = deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
    client.makeUnaryRequest(
      path,
      toBuffer,
      (b: Buffer) => b,
      request,
      options,
      (error, response) =>
        resolve({ error, response: response === undefined ? undefined : [...response] }),
    );
  });
}

/** Waits for `condition` while the sockets work; the test's own time limit bounds it. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

describe("calls", () => {
  it("carries bytes both ways, as plain Uint8Arrays", async () => {
    const client = connect(await start());
    expect(await ask(client, ECHO, Uint8Array.of(1, 2, 3))).toEqual({
      error: null,
      response: [1, 2, 3],
    });
    expect(await ask(client, ECHO, EMPTY_BYTES)).toEqual({ error: null, response: [] });
  });

  it("carries status and text, percent signs and accents included", async () => {
    const { error } = await ask(connect(await start()), ECHO, Uint8Array.of(0xff));
    expect(error).toMatchObject({ code: 9, details: "etcdserver: 100 % naïve" });
  });

  it("a handler that throws costs its caller UNKNOWN and nobody else anything", async () => {
    const rig = await start();
    const client = connect(rig);
    expect((await ask(client, THROW, EMPTY_BYTES)).error).toMatchObject({
      code: 2,
      details: "harmonydb: internal error",
    });
    expect(rig.log.lines).toMatchObject([{ level: "error", fields: { error: "a defect" } }]);
    expect((await ask(client, ECHO, Uint8Array.of(1))).error).toBeNull();
  });

  it("methods and services that are not served are UNIMPLEMENTED", async () => {
    const client = connect(await start());
    for (const path of ["/test.T/Nope", "/nope.N/Echo", "/nope", "/"]) {
      expect((await ask(client, path, EMPTY_BYTES)).error?.code, path).toBe(12);
    }
  });

  it("a message above the limit is RESOURCE_EXHAUSTED and the connection stays good", async () => {
    const client = connect(await start());
    expect((await ask(client, ECHO, new Uint8Array(1000))).response).toHaveLength(1000);
    expect((await ask(client, ECHO, new Uint8Array(1001))).error?.code).toBe(8);
    expect((await ask(client, ECHO, Uint8Array.of(1))).error).toBeNull();
  });

  it("a deadline answers DEADLINE_EXCEEDED and tells the handler to drop the work", async () => {
    const rig = await start();
    const { error } = await ask(connect(rig), HOLD, EMPTY_BYTES, 50);
    expect(error?.code).toBe(4);
    await until(() => rig.seen.held[0]?.signal.aborted === true);
    // The answer that comes too late goes nowhere.
    rig.seen.held[0]?.reply(null, Uint8Array.of(1));
  });

  it("a client that gives up or goes away fires the signal once", async () => {
    const rig = await start();
    const client = connect(rig);
    let fired = 0;
    const call = client.makeUnaryRequest(
      HOLD,
      toBuffer,
      (b: Buffer) => b,
      EMPTY_BYTES,
      () => {},
    );
    await until(() => rig.seen.held.length === 1);
    rig.seen.held[0]?.signal.addEventListener("abort", () => fired++);
    call.cancel();
    await until(() => fired > 0);
    const leaving = http2.connect(`http://127.0.0.1:${rig.port}`);
    leaving.on("error", () => {});
    const request = leaving.request({
      ":method": "POST",
      ":path": HOLD,
      "content-type": "application/grpc",
      te: "trailers",
    });
    request.on("error", () => {});
    request.end(new Uint8Array(5));
    await until(() => rig.seen.held.length === 2);
    leaving.destroy();
    await until(() => rig.seen.held[1]?.signal.aborted === true);
    expect(fired).toBe(1);
  });
});

describe("streams", () => {
  it("messages are handed over one at a time and answered in their order; half-close ends with OK", async () => {
    const rig = await start();
    const stream = connect(rig).makeBidiStreamRequest(CHAT, toBuffer, (b: Buffer) => b);
    const got: number[] = [];
    stream.on("data", (b: Buffer) => got.push(b[0] as number));
    const ended = new Promise<number>((resolve) =>
      stream.on("status", (status) => resolve(status.code)),
    );
    for (let i = 0; i < 50; i++) stream.write(Uint8Array.of(i));
    stream.end();
    expect(await ended).toBe(0);
    expect(got).toEqual(Array.from({ length: 50 }, (_, i) => i));
    await until(() => rig.seen.closed === 1);
  });

  it("the handler ends it with a status; nothing is sent after that", async () => {
    const rig = await start();
    const stream = connect(rig).makeBidiStreamRequest(CHAT, toBuffer, (b: Buffer) => b);
    const got: number[] = [];
    stream.on("data", (b: Buffer) => got.push(b[0] as number));
    stream.on("error", () => {});
    const ended = new Promise<unknown>((resolve) => stream.on("status", resolve));
    stream.write(Uint8Array.of(1));
    stream.write(Uint8Array.of(0xff));
    expect(await ended).toMatchObject({ code: 9, details: "enough" });
    expect(got).toEqual([1]);
    await until(() => rig.seen.closed === 1);
  });

  it("a client that vanishes closes its stream", async () => {
    const rig = await start();
    const client = connect(rig);
    const stream = client.makeServerStreamRequest(
      FEED,
      toBuffer,
      (b: Buffer) => b,
      Uint8Array.of(3),
    );
    stream.on("error", () => {});
    const got: number[] = [];
    stream.on("data", (b: Buffer) => got.push(b[0] as number));
    await until(() => got.length === 3);
    stream.cancel();
    await until(() => rig.seen.closed === 1);
  });

  it("requests that never become whole take the memory of all connections only up to a bound", async () => {
    const rig = await start({ maxMessageBytes: 200_000, maxHeldBytes: 300_000 });
    // A frame each, so that it is known how many of them find room.
    const begun = new Uint8Array(15_000);
    new DataView(begun.buffer).setUint32(1, 100_000);
    let held = 0;
    const refused: unknown[] = [];
    const sessions = Array.from({ length: 4 }, () => {
      const session = http2.connect(`http://127.0.0.1:${rig.port}`);
      cleanups.push(() => session.destroy());
      session.on("error", () => {});
      return session;
    });
    for (const session of sessions)
      for (let i = 0; i < 8; i++) {
        const request = session.request({
          ":method": "POST",
          ":path": ECHO,
          "content-type": "application/grpc",
          te: "trailers",
        });
        held++;
        request.on("response", (answer) => refused.push(answer["grpc-status"]));
        request.on("error", () => {});
        request.on("close", () => held--);
        request.write(begun);
      }
    // What is refused is refused, and what found room waits for its rest.
    await until(() => refused.length === 12);
    expect(refused).toEqual(refused.map(() => "8"));
    await until(() => held === 20);
    const client = connect(rig);
    expect((await ask(client, ECHO, Uint8Array.of(7))).response).toEqual([7]);
    expect((await ask(client, ECHO, new Uint8Array(100_000))).error?.code).toBe(8);
    for (const session of sessions) session.destroy();
    await until(() => held === 0);
    let answer: Answer;
    do answer = await ask(client, ECHO, new Uint8Array(100_000));
    while (answer.error?.code === 8);
    expect(answer.response).toHaveLength(100_000);
  });

  it("a client that sends and never reads is not read either", async () => {
    const rig = await start({ maxMessageBytes: 200_000 });
    const session = http2.connect(`http://127.0.0.1:${rig.port}`, { maxSessionMemory: 100 });
    cleanups.push(() => session.destroy());
    session.on("error", () => {});
    const request = session.request({
      ":method": "POST",
      ":path": CHAT,
      "content-type": "application/grpc",
      te: "trailers",
    });
    request.on("error", () => {});
    request.pause();
    const message = new Uint8Array(100_005);
    new DataView(message.buffer).setUint32(1, 100_000);
    for (let i = 0; i < 200; i++) request.write(message);
    // What the streams on the way hold is taken; then nothing moves until the client reads.
    let taken = -1;
    for (let quiet = 0; quiet < 60; quiet++) {
      if (rig.seen.messages !== taken) quiet = 0;
      taken = rig.seen.messages;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(taken).toBeGreaterThan(0);
    expect(taken).toBeLessThan(60);
    request.resume();
    await until(() => rig.seen.messages === 200);
  });
});

describe("what is not gRPC", () => {
  /** Sends raw bytes and resolves with what came back when the server has closed the connection. */
  function raw(port: number, bytes: string | Uint8Array): Promise<string> {
    return new Promise((resolve) => {
      const socket = net.connect(port, "127.0.0.1");
      cleanups.push(() => void socket.destroy());
      let got = "";
      socket.on("data", (chunk) => (got += chunk.toString("latin1")));
      socket.on("error", () => {});
      socket.on("close", () => resolve(got));
      socket.write(bytes);
    });
  }

  it("a request of HTTP/1.1 is told in text what this port speaks", async () => {
    const rig = await start();
    const answer = await raw(rig.port, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    expect(answer).toMatch(/^HTTP\/1\.1 400 Bad Request\r\nContent-Type: text\/plain/);
    expect(answer).toMatch(/\r\n\r\nThis port speaks gRPC over HTTP\/2 .*\n$/);
    const viaFetch = await fetch(`http://127.0.0.1:${rig.port}/version`);
    expect([viaFetch.status, await viaFetch.text()]).toEqual([
      400,
      expect.stringContaining("gRPC"),
    ]);
  });

  it.each([
    ["HTTP/1.1", "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"],
    ["a Redis client", "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n"],
    [
      "TLS",
      Uint8Array.from([0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3, ...Array<number>(194).fill(7)]),
    ],
    ["zeros", new Uint8Array(5000)],
    ["a good preface, then garbage", `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${"\xff".repeat(100)}`],
  ])("%s on the port is cut off, and clients do not notice", async (_name, bytes) => {
    const rig = await start();
    await raw(rig.port, bytes);
    expect((await ask(connect(rig), ECHO, Uint8Array.of(1))).error).toBeNull();
  });

  it("calls that are opened only to be reset end their connection, and others do not notice", async () => {
    const rig = await start();
    const client = connect(rig);
    const path = head(HOLD);
    const resets = Array.from({ length: 20_000 }, (_, i) =>
      bytes(request(1 + 2 * i, 0, path), frame(T.rst, 0, 1 + 2 * i, u32(8))),
    );
    const told = await raw(rig.port, bytes(GREETING, settings(), ...resets));
    const last = framesOf(new Uint8Array(Buffer.from(told, "latin1"))).at(-1);
    // GOAWAY with ENHANCE_YOUR_CALM.
    expect([last?.type, last?.payload[7]]).toEqual([T.goaway, 11]);
    expect((await ask(client, ECHO, Uint8Array.of(1))).error).toBeNull();
  });

  it("random bytes after a good preface never end the process", async () => {
    const rig = await start({ connectionIdleMs: 50 });
    const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "latin1");
    let state = 12345;
    const noise = (size: number): Uint8Array =>
      Uint8Array.from({ length: size }, () => {
        state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
        return state >>> 16;
      });
    await Promise.all(
      Array.from({ length: 30 }, (_, i) =>
        raw(rig.port, Buffer.concat([preface, noise(10 + i * 20)])),
      ),
    );
    expect((await ask(connect(rig), ECHO, Uint8Array.of(1))).error).toBeNull();
  });

  it.each([
    ["nothing", ""],
    ["half a preface", "PRI * HTTP/2.0\r\n"],
    ["a preface and then nothing", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"],
  ])("a connection on which %s comes is closed after the idle time", async (_name, bytes) => {
    const rig = await start({ connectionIdleMs: 50 });
    await raw(rig.port, bytes);
    expect((await ask(connect(rig), ECHO, Uint8Array.of(1))).error).toBeNull();
  });

  /** One request of Node's HTTP/2 client. Resolves with the headers of the answer and its trailers. */
  function exchange(
    port: number,
    headers: http2.OutgoingHttpHeaders,
    body: Uint8Array = Uint8Array.of(0, 0, 0, 0, 1, 7),
  ): Promise<Record<string, unknown>> {
    const session = http2.connect(`http://127.0.0.1:${port}`);
    cleanups.push(() => session.destroy());
    session.on("error", () => {});
    return new Promise((resolve) => {
      const request = session.request({
        ":method": "POST",
        ":path": ECHO,
        "content-type": "application/grpc",
        te: "trailers",
        ...headers,
      });
      const seen: Record<string, unknown> = {};
      request.on("response", (answer) => Object.assign(seen, answer));
      request.on("trailers", (trailers) => Object.assign(seen, trailers));
      request.on("data", (chunk: Buffer) => (seen["data"] = [...chunk]));
      request.on("error", () => {});
      request.on("close", () => resolve({ ...seen, reset: request.rstCode }));
      request.end(body);
    });
  }

  it.each<[string, http2.OutgoingHttpHeaders, object]>([
    ["another content type", { "content-type": "application/json" }, { ":status": 415 }],
    ["no content type", { "content-type": "" }, { ":status": 415 }],
    ["another method", { ":method": "PUT" }, { ":status": 405, allow: "POST" }],
    [
      "an unknown service",
      { ":path": "/a.B/C" },
      { "grpc-status": "12", "grpc-message": "unknown service a.B" },
    ],
    [
      "an unknown method",
      { ":path": "/test.T/Nope" },
      { "grpc-status": "12", "grpc-message": "unknown method Nope for service test.T" },
    ],
    [
      "a path of odd characters",
      { ":path": "/\u0080é%00~" },
      { "grpc-status": "12", "grpc-message": 'malformed method name: "/%C2%80%C3%A9%2500~"' },
    ],
    ["a timeout that is none", { "grpc-timeout": "soon" }, { "grpc-status": "13" }],
    ["a timeout of nothing", { "grpc-timeout": "0n" }, { "grpc-status": "4" }],
    [
      "a whole URL as authority",
      { ":authority": "http://127.0.0.1:2379" },
      { "grpc-status": "0", data: [0, 0, 0, 0, 1, 7] },
    ],
    ["another scheme", { ":scheme": "https" }, { "grpc-status": "0" }],
    [
      "a suffix of the content type",
      { "content-type": "application/grpc+proto" },
      { "grpc-status": "0" },
    ],
    ["an encoding that it does not use", { "grpc-encoding": "gzip" }, { "grpc-status": "0" }],
  ])("a request with %s", async (_name, headers, expected) => {
    const rig = await start();
    expect(await exchange(rig.port, headers)).toMatchObject({ ...expected, reset: 0 });
    expect((await ask(connect(rig), ECHO, Uint8Array.of(1))).error).toBeNull();
  });

  it.each<[string, http2.OutgoingHttpHeaders, Uint8Array, object]>([
    [
      "a compressed message",
      { "grpc-encoding": "rot13" },
      Uint8Array.of(1, 0, 0, 0, 1, 7),
      { "grpc-status": "12", "grpc-accept-encoding": "identity" },
    ],
    ["two messages", {}, Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0), { "grpc-status": "13" }],
    ["no message", {}, new Uint8Array(0), { "grpc-status": "13" }],
    ["half a message", {}, Uint8Array.of(0, 0, 0, 0, 9, 1), { "grpc-status": "13" }],
  ])("%s to a method that takes one is refused", async (_name, headers, body, expected) => {
    const rig = await start();
    for (const path of [ECHO, FEED])
      expect(await exchange(rig.port, { ":path": path, ...headers }, body)).toMatchObject(expected);
    expect(rig.seen.metadata).toEqual([]);
    await until(() => rig.seen.closed === 1);
  });

  it("header values of every character come through Node's compressor of headers as they were", async () => {
    const rig = await start();
    // Long enough of short codes that Huffman coding is chosen, each with one other character in it.
    const characters = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).filter(
      (character) => /[\t\x20-\x7e\x80-\xff]/.test(character),
    );
    const values = characters.map((character) => `${"e".repeat(30)}${character}e`);
    const session = http2.connect(`http://127.0.0.1:${rig.port}`);
    cleanups.push(() => session.destroy());
    for (const value of values) {
      await new Promise((resolve) => {
        const request = session.request({
          ":method": "POST",
          ":path": ECHO,
          "content-type": "application/grpc",
          "x-test": value,
        });
        request.on("close", resolve);
        request.resume();
        request.end(Uint8Array.of(0, 0, 0, 0, 0));
      });
    }
    expect(rig.seen.metadata).toEqual(values);
  });

  it("binary metadata comes as its bytes, one character each", async () => {
    const rig = await start();
    const metadata = new Metadata();
    metadata.set("x-test-bin", Buffer.from([0, 255, 128]));
    await new Promise((resolve) =>
      connect(rig).makeUnaryRequest(
        ECHO,
        toBuffer,
        (b: Buffer) => b,
        Uint8Array.of(1),
        metadata,
        resolve,
      ),
    );
    expect(rig.seen.binary).toEqual(["\0\u00ff\u0080"]);
  });
});

describe("large messages and many calls", () => {
  it("a megabyte both ways, through windows of 64 KiB", async () => {
    const rig = await start({ maxMessageBytes: 2_000_000 });
    const client = connect(rig, { "grpc.max_receive_message_length": -1 });
    const large = Uint8Array.from({ length: 1_500_000 }, (_, i) => i * 7);
    const answers = await Promise.all(
      [large, large.slice(9), large.slice(99)].map((m) => ask(client, ECHO, m)),
    );
    for (const [i, { error, response }] of answers.entries()) {
      expect(error).toBeNull();
      expect(Buffer.compare(Buffer.from(response ?? []), large.slice([0, 9, 99][i]))).toBe(0);
    }
  });

  it("more calls at a time than are allowed wait in the client and are all answered", async () => {
    const rig = await start({ maxConcurrentStreams: 10 });
    const client = connect(rig);
    const answers = await Promise.all(
      Array.from({ length: 300 }, (_, i) => ask(client, ECHO, Uint8Array.of(i % 200, 1))),
    );
    expect(answers.map(({ response }) => response?.[0])).toEqual(
      Array.from({ length: 300 }, (_, i) => i % 200),
    );
  });

  it("answers of one turn leave in one write", async () => {
    const rig = await start();
    const client = connect(rig);
    const held = Array.from({ length: 50 }, () => ask(client, HOLD, EMPTY_BYTES));
    await until(() => rig.seen.held.length === 50);
    const writes = vi.spyOn(net.Socket.prototype, "write");
    try {
      for (const { reply } of rig.seen.held) reply(null, Uint8Array.of(1, 2, 3));
      await Promise.resolve();
      await Promise.all(held);
      const ours = writes.mock.contexts.filter(
        (socket) => (socket as net.Socket).localPort === rig.port,
      );
      expect(ours).toHaveLength(1);
    } finally {
      writes.mockRestore();
    }
  });

  it("a client that takes none of its answers is cut off at the limit, and others do not notice", async () => {
    const rig = await start({ limits: { maxWaitingBytes: 300_000 }, maxMessageBytes: 200_000 });
    const session = http2.connect(`http://127.0.0.1:${rig.port}`, {
      settings: { initialWindowSize: 0 },
    });
    cleanups.push(() => session.destroy());
    session.on("error", () => {});
    const goaway = new Promise((resolve) => session.on("goaway", resolve));
    const body = new Uint8Array(100_005);
    new DataView(body.buffer).setUint32(1, 100_000);
    await new Promise((resolve) => session.on("remoteSettings", resolve));
    for (let i = 0; i < 6; i++) {
      const request = session.request({
        ":method": "POST",
        ":path": ECHO,
        "content-type": "application/grpc",
      });
      request.on("error", () => {});
      request.end(body);
    }
    expect(await goaway).toBe(11);
    expect((await ask(connect(rig), ECHO, Uint8Array.of(1))).error).toBeNull();
    expect(rig.log.lines).toMatchObject([{ level: "debug", fields: { code: 11 } }]);
  });

  it("a stream that sends on its own is told when the client reads again", async () => {
    const rig = await start();
    const stream = connect(rig).makeServerStreamRequest(
      FEED,
      toBuffer,
      (b: Buffer) => b,
      Uint8Array.of(0),
    );
    stream.on("error", () => {});
    await until(() => rig.seen.streams.length === 1);
    const call = rig.seen.streams[0] as StreamCall;
    let sent = 0;
    let stops = 0;
    // Writes as long as it may, then waits, until the client has had a megabyte.
    const feed = (): void => {
      while (call.isWritable && sent < 300) {
        call.send(new Uint8Array(4096));
        sent++;
      }
      if (sent === 300) call.end(null);
      else {
        stops++;
        call.whenWritable(feed);
      }
    };
    feed();
    expect(sent).toBeLessThan(300);
    let got = 0;
    stream.on("data", (b: Buffer) => (got += b.length));
    const status = await new Promise<{ code: number }>((resolve) => stream.on("status", resolve));
    expect([status.code, got, sent]).toEqual([0, 300 * 4096, 300]);
    expect(stops).toBeGreaterThan(1);
  });
});

describe("connections", () => {
  it("beyond the limit are closed at once; a place that is free again is taken", async () => {
    const rig = await start({ maxConnections: 2 });
    const open = (): net.Socket => {
      const socket = net.connect(rig.port, "127.0.0.1");
      socket.on("error", () => {});
      socket.resume();
      cleanups.push(() => void socket.destroy());
      return socket;
    };
    const closed = (socket: net.Socket): Promise<unknown> =>
      new Promise((resolve) => socket.on("close", resolve));
    const [first] = [open(), open()];
    await new Promise((resolve) => setImmediate(resolve));
    await closed(open());
    first.destroy();
    const client = connect(rig);
    await until(() => first.destroyed);
    await expect
      .poll(async () => (await ask(client, ECHO, Uint8Array.of(1), 500)).error)
      .toBeNull();
  });

  it("that rest are told to go and closed; those with a call are not", async () => {
    const rig = await start({ connectionIdleMs: 50 });
    const busy = connect(rig);
    const held = ask(busy, HOLD, EMPTY_BYTES);
    const session = http2.connect(`http://127.0.0.1:${rig.port}`);
    cleanups.push(() => session.destroy());
    const codes: number[] = [];
    session.on("goaway", (code) => codes.push(code));
    await new Promise((resolve) => session.on("close", resolve));
    expect(codes).toEqual([0]);
    await until(() => rig.seen.held.length === 1);
    expect(rig.seen.held[0]?.signal.aborted).toBe(false);
    rig.seen.held[0]?.reply(null, Uint8Array.of(5));
    expect(await held).toEqual({ error: null, response: [5] });
  });

  it("may be any byte stream, not only a socket", async () => {
    const [ours, theirs] = duplexPair();
    const seen: Seen = { held: [], streams: [], metadata: [], binary: [], closed: 0, messages: 0 };
    let closed = 0;
    const methods = new Map(methodsOf(seen).map((method) => [method.path, method]));
    new GrpcConnection(
      ours,
      {
        methods,
        services: new Set<string>(),
        limits: HTTP2_LIMITS,
        maxMessageBytes: 1e3,
        heldRoom: new HeldRoom(1000),
        idleMs: 1e3,
        handshakeMs: 1e3,
        log: () => {},
      },
      () => closed++,
    );
    const session = http2.connect("http://nowhere", { createConnection: () => theirs });
    const request = session.request({
      ":method": "POST",
      ":path": ECHO,
      "content-type": "application/grpc",
    });
    const data = new Promise<Buffer>((resolve) => request.on("data", resolve));
    request.end(Uint8Array.of(0, 0, 0, 0, 1, 9));
    expect([...(await data)]).toEqual([0, 0, 0, 0, 1, 9]);
    session.destroy();
    await until(() => closed === 1);
  });
});

/** Two ends of a pipe. */
function duplexPair(): readonly [Duplex, Duplex] {
  const make = (other: () => Duplex): Duplex =>
    new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        other().push(chunk);
        done();
      },
      final(done) {
        other().push(null);
        done();
      },
      destroy(error, done) {
        if (!other().readableEnded) other().push(null);
        done(error);
      },
    });
  const first: Duplex = make(() => second);
  const second: Duplex = make(() => first);
  return [first, second];
}

describe("listening and closing", () => {
  it("tells the port that was chosen, and serves several URLs", async () => {
    const rig = await start({ urls: ["http://127.0.0.1:0", "http://localhost:0"] });
    expect(rig.transport.addresses).toHaveLength(2);
    expect(rig.transport.addresses[1]).toMatch(/^http:\/\/localhost:[1-9]\d*$/);
  });

  it("a port in use and a URL that cannot be are errors with the URL in the text", async () => {
    const rig = await start();
    const taken = rig.transport.addresses[0] as string;
    await expect(start({ urls: [taken] })).rejects.toMatchObject({ code: "EADDRINUSE" });
    await expect(start({ urls: [taken] })).rejects.toThrow(`cannot listen on ${taken}: `);
    for (const url of ["https://127.0.0.1:0", "127.0.0.1:0", "http://127.0.0.1:0/path", ""]) {
      await expect(start({ urls: [url] }), url).rejects.toThrow("the URL must be http://host:port");
    }
  });

  it("close lets calls finish, tells streams to go elsewhere, and takes no new calls", async () => {
    const rig = await start();
    const client = connect(rig);
    const held = ask(client, HOLD, EMPTY_BYTES);
    const stream = client.makeBidiStreamRequest(CHAT, toBuffer, (b: Buffer) => b);
    stream.on("error", () => {});
    stream.resume();
    const ended = new Promise<unknown>((resolve) => stream.on("status", resolve));
    await until(() => rig.seen.held.length === 1 && rig.seen.streams.length === 1);
    const closed = rig.transport.close(5000);
    expect(await ended).toMatchObject({ code: 14, details: "etcdserver: server stopped" });
    rig.seen.held[0]?.reply(null, Uint8Array.of(7));
    expect(await held).toEqual({ error: null, response: [7] });
    await closed;
    expect(rig.seen.closed).toBe(1);
    expect((await ask(connect(rig), ECHO, Uint8Array.of(1), 300)).error).not.toBeNull();
  });

  it("close cuts what does not finish in time, and connections that never spoke", async () => {
    const rig = await start();
    const silent = net.connect(rig.port, "127.0.0.1");
    silent.on("error", () => {});
    silent.resume();
    cleanups.push(() => void silent.destroy());
    const cut = new Promise((resolve) => silent.on("close", resolve));
    const held = ask(connect(rig), HOLD, EMPTY_BYTES);
    await until(() => rig.seen.held.length === 1);
    await rig.transport.close(20);
    expect((await held).error?.code).toBeGreaterThan(0);
    expect(rig.seen.held[0]?.signal.aborted).toBe(true);
    await cut;
  });
});
