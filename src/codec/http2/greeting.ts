/** What a connection says first: the greeting of HTTP/2, a request of HTTP/1, or neither. */
import { utf8 } from "../../base/index.ts";
import { PREFACE } from "./protocol.ts";

export type GreetingOutcome = "unfinished" | "http2" | "http1" | "unknown";

/** How much of a wrong greeting is looked at. */
const LOOK_BYTES = 8;
/** The begin of a request line, as far as it came: a method in capitals and a space. */
const REQUEST_LINE = /^[A-Z]{1,7}( |$)/;

export class Greeting {
  #matched = 0;
  outcome: GreetingOutcome = "unfinished";

  /** Looks at the next bytes and says how many of them belong to the greeting. */
  take(bytes: Uint8Array): number {
    let at = 0;
    while (at < bytes.length && this.#matched < PREFACE.length) {
      if (bytes[at] !== PREFACE.charCodeAt(this.#matched)) {
        this.outcome = this.#isRequestLine(bytes, at) ? "http1" : "unknown";
        return at;
      }
      at++;
      this.#matched++;
    }
    if (this.#matched === PREFACE.length) this.outcome = "http2";
    return at;
  }

  #isRequestLine(bytes: Uint8Array, at: number): boolean {
    let begin = PREFACE.slice(0, this.#matched);
    for (let i = at; i < bytes.length && begin.length < LOOK_BYTES; i++)
      begin += String.fromCharCode(bytes[i] as number);
    return REQUEST_LINE.test(begin);
  }
}

const HTTP1_TEXT = "This port speaks gRPC over HTTP/2 (the etcd v3 API), not HTTP/1.\n";

/** The answer to a request of HTTP/1: short, and readable in a terminal. */
export function answerToHttp1(): Uint8Array {
  return utf8(
    [
      "HTTP/1.1 400 Bad Request",
      "Content-Type: text/plain; charset=utf-8",
      `Content-Length: ${HTTP1_TEXT.length}`,
      "Connection: close",
      "",
      HTTP1_TEXT,
    ].join("\r\n"),
  );
}
