/** A client made by hand for tests of the codec: frames built and read here with no code of the codec. */
import { expect } from "vitest";
import { setVerifying } from "../../base/index.ts";
import { Http2Connection } from "./connection.ts";
import { HTTP2_LIMITS, type Http2Limits } from "./limits.ts";
import type { RequestHead } from "./request-head.ts";
import type { Http2Stream } from "./stream.ts";

setVerifying(true);

export const GREETING: Uint8Array = ascii("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
export const T = {
  data: 0,
  headers: 1,
  priority: 2,
  rst: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goaway: 7,
  window: 8,
  continuation: 9,
} as const;
export const F = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 32 } as const;

export function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (c) => c.charCodeAt(0));
}

export function bytes(...parts: readonly (number | string | Uint8Array)[]): Uint8Array {
  const pieces = parts.map((part) =>
    typeof part === "number" ? Uint8Array.of(part) : typeof part === "string" ? ascii(part) : part,
  );
  const out = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}

export function u32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

export function frame(
  type: number,
  flags: number,
  streamId: number,
  payload: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const { length } = payload;
  return bytes(length >>> 16, length >>> 8, length, type, flags, u32(streamId), payload);
}

/** A field that is not remembered, without Huffman; short texts only. */
export function field(name: string, value: string): Uint8Array {
  const length = (n: number): Uint8Array =>
    n < 127
      ? Uint8Array.of(n)
      : n < 255
        ? Uint8Array.of(127, n - 127)
        : Uint8Array.of(127, ((n - 127) & 127) | 128, (n - 127) >>> 7);
  return bytes(0, length(name.length), name, length(value.length), value);
}

/** POST, http, and a path: what every call has; then `more`. */
export function head(path = "/s/m", ...more: readonly Uint8Array[]): Uint8Array {
  const grpc = field("content-type", "application/grpc");
  return bytes(0x83, 0x86, field(":path", path), grpc, ...more);
}

export const settings = (...pairs: readonly (readonly [number, number])[]): Uint8Array =>
  frame(
    T.settings,
    0,
    0,
    bytes(...pairs.flatMap(([id, value]) => [Uint8Array.of(id >> 8, id), u32(value)])),
  );

export const request = (
  id: number,
  flags: number = F.endStream,
  block: Uint8Array = head(),
): Uint8Array => frame(T.headers, flags | F.endHeaders, id, block);

export const message = (body: Uint8Array): Uint8Array => bytes(0, u32(body.length), body);

export interface SeenFrame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Uint8Array;
}

export function framesOf(output: Uint8Array): SeenFrame[] {
  const frames: SeenFrame[] = [];
  for (let at = 0; at < output.length;) {
    const view = new DataView(output.buffer, output.byteOffset + at);
    const length = view.getUint32(0) >>> 8;
    const end = at + 9 + length;
    if (end > output.length) throw new Error("the output ends within a frame");
    frames.push({
      type: view.getUint8(3),
      flags: view.getUint8(4),
      streamId: view.getUint32(5),
      payload: output.slice(at + 9, end),
    });
    at = end;
  }
  return frames;
}

/** The server's connection with everything that it does written down. */
export class TestPeer {
  readonly connection: Http2Connection;
  readonly streams: Map<number, Http2Stream> = new Map();
  /** One line for each thing that happened. */
  readonly events: string[] = [];
  /** Bodies, by stream. */
  readonly received: Map<number, number[]> = new Map();
  nowMs = 0;
  finished = 0;
  onRequest: (stream: Http2Stream, head: RequestHead) => void = () => {};
  onHalfClosed: (stream: Http2Stream) => void = () => {};
  #untaken = 0;

  constructor(limits: Partial<Http2Limits> = {}) {
    this.connection = new Http2Connection(
      { ...HTTP2_LIMITS, ...limits },
      {
        request: (stream, requestHead) => {
          const { id } = stream;
          this.streams.set(id, stream);
          this.events.push(`request ${id} ${requestHead.method} ${requestHead.path}`);
          this.received.set(id, []);
          this.onRequest(stream, requestHead);
          return {
            data: (body) => {
              const all = this.received.get(id) as number[];
              for (const byte of body) all.push(byte);
            },
            halfClosed: () => {
              this.events.push(`half-closed ${id} after ${this.received.get(id)?.length}`);
              this.onHalfClosed(stream);
            },
            writable: () => this.events.push(`writable ${id}`),
            closed: () => this.events.push(`closed ${id}`),
          };
        },
        hasOutput: () => this.#untaken++,
        finished: () => this.finished++,
      },
    );
  }

  /** A connection on which the greeting and SETTINGS are over. */
  static greeted(
    limits: Partial<Http2Limits> = {},
    ...pairs: readonly (readonly [number, number])[]
  ): TestPeer {
    const peer = new TestPeer(limits);
    peer.send(GREETING, settings(...pairs));
    peer.output();
    return peer;
  }

  send(...parts: readonly Uint8Array[]): void {
    for (const part of parts) this.connection.receive(part, this.nowMs);
  }

  output(): Uint8Array {
    const { outbound } = this.connection;
    const waiting = outbound.output.sizeBytes;
    expect(this.#untaken, "hasOutput is called once for what is there").toBe(waiting > 0 ? 1 : 0);
    this.#untaken = 0;
    const all = bytes(...outbound.take());
    expect(all.length).toBe(waiting);
    this.connection.flushed(waiting);
    return all;
  }

  frames(): SeenFrame[] {
    return framesOf(this.output());
  }

  /** Short forms of what came: "GOAWAY 1", "RST 5 on 3", ... Window updates are left out. */
  told(): string[] {
    return this.frames().flatMap(({ type, flags, streamId, payload }) => {
      const code = (at: number): number => new DataView(payload.buffer).getUint32(at);
      switch (type) {
        case T.goaway:
          return [`GOAWAY ${code(4)} after ${code(0)}`];
        case T.rst:
          return [`RST ${code(0)} on ${streamId}`];
        case T.settings:
          return [(flags & F.ack) === 0 ? "SETTINGS" : "SETTINGS ACK"];
        case T.ping:
          return [(flags & F.ack) === 0 ? "PING" : "PING ACK"];
        case T.headers:
          return [`HEADERS on ${streamId}${(flags & F.endStream) === 0 ? "" : " END"}`];
        case T.data:
          return [`DATA ${payload.length} on ${streamId}`];
        default:
          return [];
      }
    });
  }
}
