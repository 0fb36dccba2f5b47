/** A call of another member as a link: the server's side of one stream of our own HTTP/2. */
import type { Link, LinkEvents } from "../../env/index.ts";
import type { StreamCall, StreamListener } from "../grpc/method.ts";
import { GrpcCode } from "../grpc/status.ts";

export class IncomingLink implements Link, StreamListener {
  readonly #call: StreamCall;
  events: LinkEvents | null = null;
  #unsentBytes = 0;
  #isOver = false;

  constructor(call: StreamCall) {
    this.#call = call;
  }

  get unsentBytes(): number {
    return this.#unsentBytes;
  }

  send(frame: Uint8Array): void {
    if (this.#isOver) return;
    this.#call.send(frame);
    if (this.#call.isWritable) return;
    const isFirst = this.#unsentBytes === 0;
    this.#unsentBytes += frame.length;
    if (isFirst)
      this.#call.whenWritable(() => {
        this.#unsentBytes = 0;
        if (!this.#isOver) this.events?.drained();
      });
  }

  close(fault?: string): void {
    this.#isOver = true;
    this.#call.end(
      fault === undefined
        ? null
        : { code: GrpcCode.invalidArgument, message: `harmonydb: ${fault}` },
    );
  }

  message(bytes: Uint8Array, done: () => void): void {
    if (!this.#isOver) this.events?.frame(bytes);
    done();
  }

  halfClosed(): void {
    this.#call.end(null);
  }

  closed(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.events?.closed("the caller is gone");
  }
}
