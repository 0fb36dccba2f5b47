/**
 * A call of its own to another node, for one purpose, beside the links that carry what members always say: the hello,
 * its answer, then frames one by one as somebody takes them. Bounded in what waits here, and given up when nothing is
 * heard of the other end.
 */
import { HarmonyError } from "../../base/index.ts";
import {
  DecodeError,
  decodePeerFrame,
  encodePeerFrame,
  type Hello,
  type PeerFrame,
  type PeerRefusal,
  type Welcome,
} from "../../codec/index.ts";
import type { Env, Io, Link, LinkEvents, Links, Timer } from "../../env/index.ts";
import { Liveness } from "./liveness.ts";

const SWEEP_MS = 500;
/** Frames that wait to be taken. Who is called keeps to what there is room for, or errs. */
const WAITING_BYTES_MAX: number = 8 * 1024 * 1024;

export interface CallConfig {
  readonly env: Env;
  readonly links: Links;
  readonly url: string;
  readonly hello: Hello;
  /** Whether the one that answers is the one that was meant. Null: it is. */
  readonly judge: (welcome: Welcome) => PeerRefusal | null;
}

export class PeerCall implements LinkEvents {
  readonly #env: Env;
  readonly #url: string;
  readonly #judge: CallConfig["judge"];
  readonly #link: Link;
  readonly #liveness: Liveness;
  #frames: { readonly frame: PeerFrame; readonly bytes: number }[] = [];
  #waitingBytes = 0;
  #isWelcome = false;
  #failed: HarmonyError | null = null;
  #wake: (() => void) | null = null;
  #sweeper: Timer;
  #sweptMs: number;

  /** Calls, and says who calls. */
  constructor({ env, links, url, hello, judge }: CallConfig) {
    this.#env = env;
    this.#url = url;
    this.#judge = judge;
    this.#liveness = new Liveness(env);
    this.#link = links.dial(url, this);
    this.#link.send(encodePeerFrame(hello));
    this.#liveness.said();
    this.#sweptMs = env.clock.monotonicMs();
    this.#sweeper = this.#arm();
  }

  send(frame: Parameters<typeof encodePeerFrame>[0]): void {
    this.#link.send(encodePeerFrame(frame));
    this.#liveness.said();
  }

  /** The next frame, once it is there. Throws PEER_FAILED when none comes any more, or what `end` was given. */
  *next(): Io<PeerFrame> {
    while (this.#failed === null && this.#frames.length === 0) {
      yield (done) => {
        this.#wake = (): void => done(null, undefined);
      };
    }
    const first = this.#frames.shift();
    // What came before the end was said for sure: a refusal, above all.
    if (first === undefined) throw this.#failed as HarmonyError;
    this.#waitingBytes -= first.bytes;
    return first.frame;
  }

  /** Ends the call; who waits for a frame is told `why`. Again: nothing happens. */
  end(why: HarmonyError): void {
    if (this.#failed !== null) return;
    this.#frames = [];
    this.#link.close();
    this.#over(why);
  }

  frame(bytes: Uint8Array): void {
    if (this.#failed !== null) return;
    this.#liveness.heard();
    let frame: PeerFrame;
    try {
      frame = decodePeerFrame(bytes);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#fail(`what it says cannot be read: ${error.message}`);
      return;
    }
    this.#take(frame, bytes.length);
  }

  drained(): void {}

  closed(why: string): void {
    this.#over(this.#failure(why));
  }

  #take(frame: PeerFrame, bytes: number): void {
    if (frame.kind === "refusal") {
      this.#fail(`it refuses: ${frame.code}: ${frame.detail}`);
    } else if (frame.kind === "batch") {
      if (frame.items.length > 0) this.#fail("it speaks out of turn");
    } else if (!this.#isWelcome) {
      if (frame.kind !== "welcome") {
        this.#fail("it speaks out of turn");
        return;
      }
      const refused = this.#judge(frame);
      if (refused !== null) {
        this.#fail(`it is refused: ${refused.code}: ${refused.detail}`);
        return;
      }
      this.#isWelcome = true;
      this.#push(frame, bytes);
    } else this.#push(frame, bytes);
  }

  #push(frame: PeerFrame, bytes: number): void {
    if (this.#waitingBytes + bytes > WAITING_BYTES_MAX) {
      this.#fail("it sends more than there is room for");
      return;
    }
    this.#frames.push({ frame, bytes });
    this.#waitingBytes += bytes;
    this.#tell();
  }

  #failure(why: string): HarmonyError {
    return new HarmonyError("PEER_FAILED", `${this.#url}: ${why}`);
  }

  #fail(why: string): void {
    this.#link.close();
    this.#over(this.#failure(why));
  }

  #over(why: HarmonyError): void {
    if (this.#failed !== null) return;
    this.#failed = why;
    this.#sweeper.cancel();
    this.#tell();
  }

  #tell(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }

  #arm(): Timer {
    return this.#env.timers.after(SWEEP_MS, () => {
      if (this.#failed !== null) return;
      const nowMs = this.#env.clock.monotonicMs();
      // This process stood still and has not yet looked at what came meanwhile (fault-rules K3).
      if (nowMs - this.#sweptMs > 2 * SWEEP_MS) this.#liveness.heard();
      this.#sweptMs = nowMs;
      if (this.#liveness.isSilent) this.#fail("nothing was heard");
      else {
        this.#liveness.keepAlive(this.#link);
        this.#sweeper = this.#arm();
      }
    });
  }
}
