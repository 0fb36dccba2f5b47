/**
 * One gRPC call on a stream: bytes of the body become messages, handed over one at a time, and the flow control that
 * follows from it. A client whose messages are not taken is not given window for more.
 *
 * A message that is larger than a stream's window gets its room from an allowance of the connection, whole or not at
 * all; calls that find it used up wait for their turn. So every message that is begun can be finished, and a
 * connection holds at most `streams * window + allowance`. What all connections hold together is bounded besides: a call
 * whose bytes find no room there is refused. A message that comes whole with its frame is never counted.
 */
import { assert, EMPTY_BYTES } from "../../base/index.ts";
import { type MessageFault, MessageReader } from "./message-reader.ts";
import { INITIAL_WINDOW_BYTES, MESSAGE_PREFIX_BYTES as PREFIX_BYTES } from "./protocol.ts";
import type { Http2Stream, StreamListener } from "./stream.ts";

/** What a call's owner hears. */
export interface CallListener {
  /** The next message; the one after it comes when `next` was called. It stays as it is for as long as it is held. */
  message(bytes: Uint8Array): void;
  /** The client sends no more, and all it sent was taken. */
  halfClosed(): void;
  /** More may be sent. */
  writable(): void;
  /** The call is over, whoever ended it. Called once, last. */
  closed(): void;
}

/** Room that the calls of one connection share for messages larger than a window. First come, first served. */
export class Allowance {
  #freeBytes: number;
  readonly #waiting: Set<GrpcCall> = new Set();

  /** At least as much as the largest message needs. */
  constructor(bytes: number) {
    this.#freeBytes = bytes;
  }

  /** True when the room is the caller's, who gives it back; false when `call` is asked again later. */
  take(call: GrpcCall, bytes: number): boolean {
    if (bytes <= this.#freeBytes && (this.#waiting.size === 0 || this.#isFirst(call))) {
      this.#waiting.delete(call);
      this.#freeBytes -= bytes;
      return true;
    }
    this.#waiting.add(call);
    return false;
  }

  giveBack(bytes: number): void {
    this.#freeBytes += bytes;
    for (;;) {
      const [call] = this.#waiting;
      if (call === undefined || !call.retry()) return;
    }
  }

  forget(call: GrpcCall): void {
    const wasFirst = this.#isFirst(call);
    if (this.#waiting.delete(call) && wasFirst) this.giveBack(0);
  }

  #isFirst(call: GrpcCall): boolean {
    const [first] = this.#waiting;
    return first === call;
  }
}

/** Room that the calls of all connections share for what has come of messages that are not handed over yet. */
export class HeldRoom {
  #freeBytes: number;

  constructor(bytes: number) {
    this.#freeBytes = bytes;
  }

  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** False when there is not so much. */
  take(bytes: number): boolean {
    if (bytes > this.#freeBytes) return false;
    this.#freeBytes -= bytes;
    return true;
  }

  giveBack(bytes: number): void {
    this.#freeBytes += bytes;
  }
}

const STATUS_INTERNAL = 13;
const STATUS_RESOURCE_EXHAUSTED = 8;
const STATUS_UNIMPLEMENTED = 12;

export class GrpcCall implements StreamListener {
  readonly stream: Http2Stream;
  readonly #listener: CallListener;
  readonly #allowance: Allowance;
  readonly #room: HeldRoom;
  readonly #reader: MessageReader;
  readonly #encoding: string;
  readonly #maxMessageBytes: number;
  /** What came while a message was in hand, packed, since crumbs would take more room as views: [0, #laterBytes). */
  #later: Uint8Array = EMPTY_BYTES;
  #laterBytes = 0;
  /** The owner has a message in hand. */
  #isBusy = false;
  #isRemoteOver = false;
  #isDelivering = false;
  #isHalfClosedTold = false;
  /** Bytes that came and were not handed over, prefixes included. */
  #heldBytes = 0;
  /** Of them, what is taken of the room of all connections. */
  #countedBytes = 0;
  /** Of the allowance, for the message that is coming. */
  #grantedBytes = 0;
  /** There was no room for it: what still comes is dropped. */
  #isDropped = false;

  constructor(
    stream: Http2Stream,
    listener: CallListener,
    allowance: Allowance,
    room: HeldRoom,
    options: {
      readonly encoding: string;
      readonly maxMessageBytes: number;
      readonly firstMessageBytesMax?: number | undefined;
    },
  ) {
    this.stream = stream;
    this.#listener = listener;
    this.#allowance = allowance;
    this.#room = room;
    this.#encoding = options.encoding;
    this.#maxMessageBytes = options.maxMessageBytes;
    this.#reader = new MessageReader(options.firstMessageBytesMax ?? options.maxMessageBytes);
  }

  /** The message in hand is done with. */
  next(): void {
    assert(this.#isBusy, "a message was in hand");
    this.#isBusy = false;
    // From within `message` the loop there goes on by itself.
    if (this.#isDelivering) return;
    this.#deliver();
    this.#count();
    this.#openWindow();
  }

  data(bytes: Uint8Array): void {
    if (this.#isDropped) return;
    this.#heldBytes += bytes.length;
    if (this.#isBusy || this.#isDelivering) {
      this.#keep(bytes);
      this.#count();
      return;
    }
    this.#reader.give(bytes);
    this.#deliver();
    this.#count();
    this.#openWindow();
  }

  halfClosed(): void {
    this.#isRemoteOver = true;
    if (!this.#isBusy) this.#deliver();
  }

  writable(): void {
    this.#listener.writable();
  }

  closed(): void {
    this.#drop();
    this.#listener.closed();
  }

  /** There may be room in the allowance now. False when there is not enough. */
  retry(): boolean {
    return this.#takeAllowance();
  }

  /** Hands over what there is until the owner keeps a message in hand. */
  #deliver(): void {
    const { stream } = this;
    const reader = this.#reader;
    this.#isDelivering = true;
    while (!this.#isBusy && !stream.isOver) {
      const message = reader.next();
      if (message !== null) {
        reader.bytesMax = this.#maxMessageBytes;
        this.#heldBytes -= message.length + PREFIX_BYTES;
        this.#giveAllowanceBack();
        this.#isBusy = true;
        this.#listener.message(message);
      } else if (reader.fault !== null) {
        this.#refuse(reader.fault);
      } else if (this.#laterBytes > 0) {
        reader.give(this.#later.subarray(0, this.#laterBytes));
        this.#later = EMPTY_BYTES;
        this.#laterBytes = 0;
      } else break;
    }
    this.#isDelivering = false;
    if (!this.#isRemoteOver || this.#isBusy || stream.isOver || this.#isHalfClosedTold) return;
    this.#isHalfClosedTold = true;
    if (reader.isInside)
      stream.end({ code: STATUS_INTERNAL, message: "grpc: the last message is not whole" });
    else this.#listener.halfClosed();
  }

  #keep(bytes: Uint8Array): void {
    const needed = this.#laterBytes + bytes.length;
    if (needed > this.#later.length) {
      const larger = new Uint8Array(needed * 2);
      larger.set(this.#later.subarray(0, this.#laterBytes));
      this.#later = larger;
    }
    this.#later.set(bytes, this.#laterBytes);
    this.#laterBytes = needed;
  }

  /** Takes room for what is held now, or gives back what is not held any more. */
  #count(): void {
    if (this.stream.isOver) return;
    const more = this.#heldBytes - this.#countedBytes;
    if (more > 0 && !this.#room.take(more)) {
      this.#drop();
      this.stream.end({
        code: STATUS_RESOURCE_EXHAUSTED,
        message: "grpc: too many bytes of requests that are not whole; try again later",
      });
      return;
    }
    if (more < 0) this.#room.giveBack(-more);
    this.#countedBytes = this.#heldBytes;
  }

  #drop(): void {
    this.#isDropped = true;
    this.#allowance.forget(this);
    this.#giveAllowanceBack();
    this.#room.giveBack(this.#countedBytes);
    this.#countedBytes = 0;
    this.#heldBytes = 0;
    this.#later = EMPTY_BYTES;
    this.#laterBytes = 0;
    this.#reader.drop();
  }

  #giveAllowanceBack(): void {
    const bytes = this.#grantedBytes;
    if (bytes === 0) return;
    this.#grantedBytes = 0;
    this.#allowance.giveBack(bytes);
  }

  #openWindow(): void {
    if (this.#isRemoteOver || this.#isDropped || this.stream.isOver) return;
    // While a message is in hand the one after it is not looked at, so that its size is not known.
    if (
      !this.#isBusy &&
      this.#grantedBytes === 0 &&
      this.#reader.messageBytes > INITIAL_WINDOW_BYTES
    ) {
      this.#takeAllowance();
      return;
    }
    this.stream.openWindow(
      INITIAL_WINDOW_BYTES + this.#grantedBytes - this.#heldBytes,
      this.#isBusy ? 0 : this.#reader.messageBytes - this.#heldBytes,
    );
  }

  #takeAllowance(): boolean {
    const bytes = this.#reader.messageBytes;
    if (!this.#allowance.take(this, bytes)) return false;
    this.#grantedBytes = bytes;
    this.stream.openWindow(INITIAL_WINDOW_BYTES + bytes - this.#heldBytes, bytes);
    return true;
  }

  #refuse(fault: MessageFault): void {
    switch (fault) {
      case "tooLarge":
        this.stream.end({
          code: STATUS_RESOURCE_EXHAUSTED,
          message: `grpc: received message larger than max (${this.#reader.bytesMax})`,
        });
        break;
      case "compressed":
        if (this.#encoding === "" || this.#encoding === "identity")
          this.stream.end({
            code: STATUS_INTERNAL,
            message: "grpc: compressed flag set with identity or empty encoding",
          });
        else
          this.stream.end(
            {
              code: STATUS_UNIMPLEMENTED,
              message: `grpc: no decompressor for grpc-encoding "${this.#encoding}"`,
            },
            { "grpc-accept-encoding": "identity" },
          );
        break;
      case "malformed":
        this.stream.end({ code: STATUS_INTERNAL, message: "grpc: a message with unknown flags" });
        break;
    }
  }
}
