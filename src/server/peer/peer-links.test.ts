/** Links over real sockets: what they promise, and what strangers on the port get. */
import { connect as connectHttp2 } from "node:http2";
import { connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
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
import { PEER_FRAME_BYTES_MAX } from "../../codec/index.ts";
import type { Link } from "../../env/index.ts";
import { AddressBook } from "./addresses.ts";
import { listenForPeers, type PeerLinks } from "./peer-links.ts";

const quiet = (): void => {};
const open: PeerLinks[] = [];
const servers: Server[] = [];
const sockets: Socket[] = [];

async function links(): Promise<PeerLinks> {
  const made = await listenForPeers(["http://127.0.0.1:0"], quiet);
  open.push(made);
  return made;
}

const urlOf = ({ addresses }: PeerLinks): string => addresses[0] as string;

/** What an end hears, as it comes. */
class Ear {
  readonly frames: Uint8Array[] = [];
  why: string | null = null;
  isRefused = false;
  drains = 0;
  #changed: (() => void) | null = null;

  frame(bytes: Uint8Array): void {
    this.frames.push(bytes);
    this.#changed?.();
  }

  drained(): void {
    this.drains++;
    this.#changed?.();
  }

  closed(why: string, isRefused = false): void {
    expect(this.why).toBeNull();
    this.why = why;
    this.isRefused = isRefused;
    this.#changed?.();
  }

  async until(isIt: () => boolean): Promise<void> {
    while (!isIt()) await new Promise<void>((resolve) => (this.#changed = resolve));
  }
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close()));
  for (const server of servers.splice(0)) server.close();
  for (const socket of sockets.splice(0)) socket.destroy();
});

/** A link that is open, and both of its ends. */
async function linked(): Promise<{ link: Link; caller: Ear; called: Ear; back: Link }> {
  const a = await links();
  const b = await links();
  const called = new Ear();
  const caller = new Ear();
  let back: Link | null = null;
  b.accept((link) => {
    back = link;
    return called;
  });
  const link = a.dial(urlOf(b), caller);
  link.send(Uint8Array.of(0));
  await called.until(() => called.frames.length === 1);
  called.frames.pop();
  return { link, caller, called, back: back as unknown as Link };
}

describe("a link over sockets", { timeout: 60_000 }, () => {
  it("carries frames whole and in order, both ways, small and large", async () => {
    const { link, caller, called, back } = await linked();
    const sizes = [1, 0, 5, 70_000, 3, 9_000_000, 2];
    for (const [i, size] of sizes.entries()) {
      link.send(new Uint8Array(size).fill(i));
      back.send(new Uint8Array(size).fill(i));
    }
    for (const ear of [caller, called]) {
      await ear.until(() => ear.frames.length === sizes.length);
      expect(ear.frames.map(({ length }) => length)).toEqual(sizes);
      for (const [i, frame] of ear.frames.entries())
        expect([frame.at(0), frame.at(-1)]).toEqual(
          frame.length > 0 ? [i, i] : [undefined, undefined],
        );
    }
    await caller.until(() => link.unsentBytes === 0);
    expect(caller.drains).toBeGreaterThan(0);
  });

  it("hears why it is ended while a frame is on its way, however large that is", async () => {
    const { link, caller } = await linked();
    link.send(new Uint8Array(PEER_FRAME_BYTES_MAX + 1));
    await caller.until(() => caller.why !== null);
    expect(caller.why).toMatch(/received message larger than max/);
  });

  it("tells the other end when one ends it, whichever it is", async () => {
    const first = await linked();
    first.link.send(Uint8Array.of(7));
    first.link.close();
    await first.called.until(() => first.called.why !== null);
    expect(first.called.frames).toEqual([Uint8Array.of(7)]);
    const second = await linked();
    second.back.send(Uint8Array.of(8));
    second.back.close();
    await second.caller.until(() => second.caller.why !== null);
    expect(second.caller.frames).toEqual([Uint8Array.of(8)]);
    // Its owner hears nothing more of a link that he closed.
    expect([first.caller.why, second.called.why]).toEqual([null, null]);
  });

  it("is refused before the node takes calls, and where nobody listens", async () => {
    const a = await links();
    const b = await links();
    const early = new Ear();
    a.dial(urlOf(b), early);
    await early.until(() => early.why !== null);
    expect(early.why).toMatch(/starting/);
    const url = urlOf(b);
    await b.close();
    const late = new Ear();
    a.dial(url, late);
    await late.until(() => late.why !== null);
    expect(late.why).toMatch(/ECONNREFUSED/);
    // Only where nobody listens has a member ended.
    expect([early.isRefused, late.isRefused]).toEqual([false, true]);
    const nowhere = new Ear();
    a.dial("no url", nowhere);
    expect(nowhere.why).toBeNull();
    await nowhere.until(() => nowhere.why !== null);
  });

  it("breaks when what answers is no member: HTTP, or nothing that can be read", async () => {
    for (const answer of ["HTTP/1.1 400 Bad Request\r\n\r\n", "\0\0\0garbage\r\n\r\n"]) {
      const server = createServer((socket) => {
        socket.on("error", quiet);
        socket.end(answer);
      });
      servers.push(server);
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const { port } = server.address() as { readonly port: number };
      const ear = new Ear();
      (await links()).dial(`http://127.0.0.1:${port}`, ear);
      await ear.until(() => ear.why !== null);
      expect(ear.frames).toEqual([]);
    }
  });
});

describe("strangers on the port of the members", { timeout: 60_000 }, () => {
  it("are cut off when they send what is no HTTP/2, and nobody else notices", async () => {
    const { link, called } = await linked();
    const url = urlOf(open.at(-1) as PeerLinks);
    const { port } = new URL(url);
    for (const bytes of [
      "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
      "\x16\x03\x01\x02\x00\x01\x00".repeat(20),
    ]) {
      await new Promise<void>((resolve) => {
        const socket = connect(Number(port), "127.0.0.1", () => socket.write(bytes));
        socket.on("error", quiet);
        socket.on("data", quiet);
        socket.on("close", () => resolve());
      });
    }
    link.send(Uint8Array.of(1));
    await called.until(() => called.frames.length === 1);
  });

  it("get an answer by name for other methods, and are ended for messages that are too large", async () => {
    const b = await links();
    const heard = new Ear();
    b.accept(() => heard);
    const call = (path: string, bytes: Buffer): Promise<string> =>
      new Promise((resolve) => {
        const session = connectHttp2(urlOf(b));
        session.on("error", quiet);
        const stream = session.request({
          ":method": "POST",
          ":path": path,
          "content-type": "application/grpc",
        });
        let status = "none";
        const heed = (headers: Readonly<Record<string, unknown>>): void => {
          const { "grpc-status": code, "grpc-message": message } = headers;
          if (code !== undefined) status = `${String(code as string)} ${String(message as string)}`;
        };
        stream.on("response", heed);
        stream.on("trailers", heed);
        stream.on("error", quiet);
        stream.on("close", () => {
          session.destroy();
          resolve(status);
        });
        stream.resume();
        stream.write(bytes);
      });
    expect(await call("/etcdserverpb.KV/Put", Buffer.alloc(5))).toMatch(/^12 unknown service/);
    const huge = Buffer.from([0, 0xff, 0xff, 0xff, 0xff]);
    expect(await call("/harmonydb.peer.v1.Peer/Connect", huge)).toMatch(/^8 .*larger than max/);
    // A stranger's hello, announced with more than a hello ever has, is not waited for.
    const long = Buffer.from([0, 0, 1, 0, 1]);
    expect(await call("/harmonydb.peer.v1.Peer/Connect", long)).toMatch(/^8 .*max \(65536\)/);
    expect(heard.frames).toEqual([]);
    // What the node finds wrong with a frame is told to whoever sent it.
    b.accept((link) => ({
      frame: () => link.close("the caller is given up: nonsense"),
      drained: quiet,
      closed: quiet,
    }));
    const garbage = Buffer.from([0, 0, 0, 0, 3, 1, 2, 3]);
    expect(await call("/harmonydb.peer.v1.Peer/Connect", garbage)).toBe(
      "3 harmonydb: the caller is given up: nonsense",
    );
    const a = await links();
    const caller = new Ear();
    a.dial(urlOf(b), caller).send(Uint8Array.of(1));
    await caller.until(() => caller.why !== null);
    expect(caller.why).toBe("the call was ended: harmonydb: the caller is given up: nonsense");
  });
});

describe("many strangers on the port of the members", { timeout: 60_000 }, () => {
  /** A connection that says this and then nothing more, and all that it is told. */
  const stranger = (port: number, ...said: readonly Uint8Array[]): Stranger => {
    const socket = connect(port, "127.0.0.1");
    const told: Buffer[] = [];
    for (const bytes of said) socket.write(bytes);
    socket.on("error", quiet);
    socket.on("data", (chunk) => told.push(chunk));
    const made = {
      socket,
      told,
      opened: new Promise<void>((resolve) => socket.once("connect", () => resolve())),
      closed: new Promise<void>((resolve) => socket.once("close", () => resolve())),
    };
    sockets.push(socket);
    return made;
  };
  interface Stranger {
    readonly socket: Socket;
    readonly told: readonly Buffer[];
    readonly opened: Promise<void>;
    readonly closed: Promise<void>;
  }

  it("keep no member out: those without a call make room for it", async () => {
    const { link, called } = await linked();
    const b = open.at(-1) as PeerLinks;
    const port = Number(new URL(urlOf(b)).port);
    const greeting = [GREETING, settings()];
    const strangers: Stranger[] = [];
    for (let i = 0; i < 300; i++) {
      const one = i % 2 === 0 ? stranger(port) : stranger(port, ...greeting);
      strangers.push(one);
      await one.opened;
    }
    // The first of them are gone, and with them nobody who has a call.
    await Promise.all(strangers.slice(0, 40).map(({ closed }) => closed));
    link.send(Uint8Array.of(1));
    await called.until(() => called.frames.length === 1);
    const a = await links();
    const heard = new Ear();
    b.accept(() => heard);
    a.dial(urlOf(b), new Ear()).send(Uint8Array.of(2));
    await heard.until(() => heard.frames.length === 1);
    expect(called.why).toBeNull();
  });

  it("who open calls only to reset them are told to calm down, and nobody else notices", async () => {
    const { link, called } = await linked();
    const b = open.at(-1) as PeerLinks;
    const heard: Ear[] = [];
    b.accept(() => {
      const ear = new Ear();
      heard.push(ear);
      return ear;
    });
    const path = head("/harmonydb.peer.v1.Peer/Connect");
    const resets = Array.from({ length: 100 }, (_, i) =>
      bytes(request(1 + 2 * i, 0, path), frame(T.rst, 0, 1 + 2 * i, u32(8))),
    );
    const flood = stranger(Number(new URL(urlOf(b)).port), GREETING, settings(), ...resets);
    await flood.closed;
    const last = framesOf(new Uint8Array(Buffer.concat(flood.told))).at(-1);
    expect([last?.type, last?.payload[7]]).toEqual([T.goaway, 11]);
    expect(heard.length).toBeLessThan(20);
    link.send(Uint8Array.of(1));
    await called.until(() => called.frames.length === 1);
  });
});

describe("names of members", { timeout: 60_000 }, () => {
  const address = (text: string): { address: string; family: number } => ({
    address: text,
    family: 4,
  });

  it("are looked up one at a time, and used as they were while the next answer is awaited", async () => {
    const asked: { name: string; answer: (error: Error | null, found: never[]) => void }[] = [];
    const book = new AddressBook((name, answer) => asked.push({ name, answer: answer as never }));
    const find = (name: string): Promise<string> =>
      new Promise((resolve) => {
        book.lookup(name, {}, (error, found) =>
          resolve(error === null && typeof found === "string" ? found : String(error?.message)),
        );
      });
    const first = find("n1");
    const again = find("n1");
    const other = find("n2");
    expect(asked.map(({ name }) => name)).toEqual(["n1"]);
    asked[0]?.answer(null, [address("10.0.0.1")] as never[]);
    expect(await Promise.all([first, again])).toEqual(["10.0.0.1", "10.0.0.1"]);
    expect(asked.map(({ name }) => name)).toEqual(["n1", "n2"]);
    asked[1]?.answer(new Error("no such name"), undefined as never);
    expect(await other).toBe("no such name");
    // The name server has gone silent: what is known does.
    expect(await find("n1")).toBe("10.0.0.1");
    expect(asked.length).toBe(3);
    expect(await find("n1")).toBe("10.0.0.1");
    expect(asked.length).toBe(3);
    asked[2]?.answer(null, [address("10.0.0.9")] as never[]);
    expect(await find("n1")).toBe("10.0.0.9");
  });
});
