/**
 * What one other node says to this one, over a link that it opened: a hello, which is judged, and then batches until
 * either end ends. Whatever does not fit ends the link: bytes between members come from programs, and one that errs
 * once is not reasoned with.
 */
import {
  DecodeError,
  decodePeerFrame,
  decodePeerItem,
  encodeHandshakeFrame,
  type Hello,
  type PeerItem,
  type PeerRefusal,
} from "../../codec/index.ts";
import type { Env, Link, LinkEvents } from "../../env/index.ts";
import type { NodeId } from "../../raft/index.ts";
import { judgeHello, refusal, welcomeOf } from "./handshake.ts";
import { Liveness } from "./liveness.ts";
import type { Membership, Self } from "./membership.ts";

export interface IncomingConfig {
  readonly env: Env;
  readonly self: Self;
  readonly membership: Membership;
  /** The process that is connected under this id, in either direction; null when none is. */
  readonly liveBoot: (from: NodeId) => Uint8Array | null;
  /** The caller is taken: an older link of the same process is given up. */
  readonly taken: (incoming: Incoming) => void;
  readonly deliver: (item: PeerItem, from: NodeId) => void;
  readonly ended: (incoming: Incoming) => void;
}

export class Incoming implements LinkEvents {
  readonly #config: IncomingConfig;
  readonly #link: Link;
  readonly #liveness: Liveness;
  #state: "greeting" | "meeting" | "open" | "ended" = "greeting";
  #hello: Hello | null = null;

  constructor(link: Link, config: IncomingConfig) {
    this.#config = config;
    this.#link = link;
    this.#liveness = new Liveness(config.env);
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** 0 until it has said who it is. */
  get from(): NodeId {
    return this.#hello?.from ?? 0;
  }

  get boot(): Uint8Array | null {
    return this.#hello?.bootId ?? null;
  }

  get clientUrls(): readonly string[] {
    return this.#hello?.clientUrls ?? [];
  }

  frame(bytes: Uint8Array): void {
    if (this.#state === "ended") return;
    this.#liveness.heard();
    try {
      this.#read(bytes);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.end(`what it says cannot be read: ${error.message}`);
    }
  }

  drained(): void {}

  closed(why: string): void {
    this.#over(why);
  }

  sweep(isLate: boolean): void {
    if (isLate) this.#liveness.heard();
    else if (this.#liveness.isSilent) this.end("nothing was heard");
    else if (this.#state === "open") this.#liveness.keepAlive(this.#link);
  }

  end(why: string): void {
    this.#link.close();
    this.#over(why);
  }

  #read(bytes: Uint8Array): void {
    const frame = decodePeerFrame(bytes);
    if (this.#state === "greeting" && frame.kind === "hello") this.#greet(frame);
    else if (this.#state === "open" && frame.kind === "batch") {
      const ends = { from: this.from, to: this.#config.self.memberId };
      for (const each of frame.items) {
        const item = decodePeerItem(each, ends);
        // What this version does not know is as if it had been lost.
        if (item !== null) this.#config.deliver(item, ends.from);
        if (this.#currentState() === "ended") return;
      }
    } else this.end("it speaks out of turn");
  }

  #greet(hello: Hello): void {
    const { self, membership, liveBoot } = this.#config;
    const verdict = judgeHello(hello, self, membership, liveBoot(hello.from));
    if (typeof verdict !== "number") {
      this.#refuse(hello, verdict);
      return;
    }
    this.#state = "meeting";
    membership.meet(hello.from, hello.walId, (error) => {
      if (this.#state !== "meeting") return;
      // Two may have met while this one was written down.
      const live = liveBoot(hello.from);
      const again = judgeHello(hello, self, membership, live);
      if (error !== null) this.end(`it cannot be remembered: ${error.message}`);
      else if (typeof again !== "number") this.#refuse(hello, again);
      else {
        this.#hello = hello;
        this.#state = "open";
        this.#link.send(encodeHandshakeFrame(welcomeOf(self, verdict)));
        this.#liveness.said();
        this.#config.taken(this);
      }
    });
  }

  #refuse(hello: Hello, why: PeerRefusal): void {
    const { code, detail } = refusal(why.code as Parameters<typeof refusal>[0], why.detail);
    this.#config.env.log("error", "peer", `a node that calls itself ${hello.name} was refused`, {
      code,
      detail,
      member: hello.from.toString(16),
    });
    this.#link.send(encodeHandshakeFrame(why));
    this.end(code);
  }

  #over(why: string): void {
    if (this.#state === "ended") return;
    const { env, membership } = this.#config;
    if (this.#state === "open") {
      const name = membership.of(this.from)?.name ?? "";
      env.log("info", "peer", `${name} is not heard any more`, { peer: name, why });
    } else env.log("debug", "peer", "a call of another node came to nothing", { why });
    this.#state = "ended";
    this.#config.ended(this);
  }

  #currentState(): string {
    return this.#state;
  }
}
