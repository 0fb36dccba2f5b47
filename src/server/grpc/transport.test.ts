/** The transport alone, over real sockets: what clients may do to it, and how it ends. */
import http2 from "node:http2";
import net from "node:net";
import { Client, credentials, type ClientOptions, type ServiceError } from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import { EMPTY_BYTES } from "../../base/index.ts";
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
      open: (call) => ({
        message: (request, done) => {
          for (let i = 0; i < (request[0] ?? 0); i++) call.send(Uint8Array.of(i));
          done();
        },
        halfClosed: () => {},
        closed: () => seen.closed++,
      }),
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
  const seen: Seen = { held: [], streams: [], metadata: [], closed: 0, messages: 0 };
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

  it.each([
    ["another content type", { "content-type": "application/json", ":path": ECHO }],
    ["no content type", { ":path": ECHO }],
    ["a path of odd characters", { "content-type": "application/grpc", ":path": "/\x80é%00\x7f" }],
    [
      "a timeout that is none",
      { "content-type": "application/grpc", ":path": ECHO, "grpc-timeout": "soon" },
    ],
    [
      "an unknown compression",
      { "content-type": "application/grpc", ":path": ECHO, "grpc-encoding": "rot13" },
    ],
  ])("an HTTP/2 request with %s is answered and the server lives", async (_name, headers) => {
    const rig = await start();
    const session = http2.connect(`http://127.0.0.1:${rig.port}`);
    cleanups.push(() => session.destroy());
    session.on("error", () => {});
    await new Promise<void>((resolve) => {
      const request = session.request({ ":method": "POST", te: "trailers", ...headers });
      request.on("error", () => {});
      request.on("close", resolve);
      request.resume();
      request.end(Buffer.from([1, 0, 0, 0, 1, 7]));
    });
    expect((await ask(connect(rig), ECHO, Uint8Array.of(1))).error).toBeNull();
  });
});

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
