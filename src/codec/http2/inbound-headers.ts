/** Requests and trailers as they come in: HEADERS and CONTINUATION frames (RFC 9113, sections 6.2, 6.10 and 8.1). */
import { HeaderBlock } from "./header-block.ts";
import { HpackDecoder } from "./hpack-decoder.ts";
import type { HeaderField } from "./hpack-table.ts";
import { type InboundTarget, paddingOf } from "./inbound-target.ts";
import type { Http2Limits } from "./limits.ts";
import { Flag, FrameType, HEADER_TABLE_BYTES, Http2Code } from "./protocol.ts";
import { requestHead } from "./request-head.ts";

const PRIORITY_BYTES = 5;

export class InboundHeaders {
  readonly #target: InboundTarget;
  readonly #decoder: HpackDecoder;
  readonly #block: HeaderBlock;

  constructor(target: InboundTarget, limits: Http2Limits) {
    this.#target = target;
    this.#decoder = new HpackDecoder(HEADER_TABLE_BYTES, limits.maxHeaderListBytes);
    this.#block = new HeaderBlock(limits.maxHeaderListBytes, limits.maxContinuations);
  }

  /** While a block is unfinished, nothing but its rest may come. */
  mayFollow(type: number, streamId: number): boolean {
    const block = this.#block;
    return !block.isOpen || (type === FrameType.continuation && streamId === block.streamId);
  }

  invariants(): void {
    this.#decoder.invariants();
  }

  headers(flags: number, streamId: number, bytes: Uint8Array, start: number, end: number): void {
    if (streamId === 0 || streamId % 2 === 0) {
      this.#target.fail(Http2Code.protocolError, "a request on a number that is no client's");
      return;
    }
    const padding = paddingOf(flags, bytes, start, end);
    const from =
      start +
      ((flags & Flag.padded) === 0 ? 0 : 1) +
      ((flags & Flag.priority) === 0 ? 0 : PRIORITY_BYTES);
    if (padding === null || from > end - padding) {
      this.#target.fail(Http2Code.protocolError, "more padding than frame");
      return;
    }
    const fragment = bytes.subarray(from, end - padding);
    const endStream = (flags & Flag.endStream) !== 0;
    if ((flags & Flag.endHeaders) === 0) this.#block.begin(streamId, endStream, fragment);
    else this.#wholeBlock(streamId, endStream, fragment);
  }

  /** The next piece of a block. */
  continuation(flags: number, fragment: Uint8Array): void {
    const block = this.#block;
    if (!block.isOpen) {
      this.#target.fail(Http2Code.protocolError, "CONTINUATION of nothing");
    } else if (!block.add(fragment)) {
      this.#target.fail(Http2Code.enhanceYourCalm, "a header block without end");
    } else if ((flags & Flag.endHeaders) !== 0) {
      this.#wholeBlock(block.streamId, block.endStream, block.finish());
    }
  }

  #wholeBlock(streamId: number, endStream: boolean, block: Uint8Array): void {
    const fields: HeaderField[] = [];
    const outcome = this.#decoder.decode(block, fields);
    if (outcome === "malformed") {
      this.#target.fail(Http2Code.compressionError, "a header block cannot be decoded");
      return;
    }
    const stream = this.#target.streamOf(streamId);
    if (stream !== undefined) {
      // Trailers: they end what the client sends, and nothing of them is needed.
      if (stream.isRemoteClosed) this.#target.reset(streamId, Http2Code.streamClosed);
      else if (!endStream || fields.some((field) => field.role !== "other"))
        this.#target.reset(streamId, Http2Code.protocolError);
      else this.#target.halfClose(stream);
      return;
    }
    switch (this.#target.admit(streamId)) {
      case "ignore":
        return;
      case "wrong":
        this.#target.fail(Http2Code.streamClosed, "a request on a number that was used");
        return;
      case "open":
        break;
    }
    const head = outcome === "ok" ? requestHead(fields) : null;
    if (outcome === "ok" && head === null) this.#target.reset(streamId, Http2Code.protocolError);
    else this.#target.begin(streamId, head, endStream);
  }
}
