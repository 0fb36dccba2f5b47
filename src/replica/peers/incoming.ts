/**
 * What one other node says to this one, over a link that it opened: a hello, which is judged, and then batches until
 * either end ends, or, on a call for a snapshot, what belongs to that. Whatever does not fit ends the link: bytes between members come from programs, and one that errs
 * once is not reasoned with.
 */
import {
  DecodeError,
  decodePeerFrame,
  decodePeerItem,
  encodePeerFrame,
  type Hello,
  type JoinInfo,
  type PeerItem,
  type PeerRefusal,
} from "../../codec/index.ts";
import type { Env, Link, LinkEvents } from "../../env/index.ts";
import type { NodeId } from "../../raft/index.ts";
import type { Serving } from "../snapshots/serving.ts";
import { judgeHello, versionWith, welcomeOf } from "./handshake.ts";
import { Liveness } from "./liveness.ts";
import type { Membership, Self } from "./membership.ts";

export interface IncomingConfig {
  readonly env: Env;
  readonly self: Self;
  readonly membership: Membership;
  /** The process that is connected under this id, in either direction; null when none is. */
  readonly liveBoot: (from: NodeId) => Uint8Array | null;
  /** For a node that wants to join; null: nothing is told here. */
  readonly joinInfo: () => JoinInfo | null;
  /** The caller is refused, and is told why. */
  readonly refused: (hello: Hello, why: PeerRefusal) => void;
  /** A node of this cluster was refused that is no member as far as is known here. */
  readonly strange: (hello: Hello) => void;
  /** The caller is taken: an older link of the same process is given up. */
  readonly taken: (incoming: Incoming) => void;
  readonly deliver: (item: PeerItem, from: NodeId) => void;
  /** The caller is taken, and calls for a snapshot. */
  readonly serve: (link: Link, hello: Hello) => Serving | null;
  readonly ended: (incoming: Incoming) => void;
}

export class Incoming implements LinkEvents {
  readonly #config: IncomingConfig;
  readonly #link: Link;
  readonly #liveness: Liveness;
  #state: "greeting" | "meeting" | "open" | "serving" | "ended" = "greeting";
  #serving: Serving | null = null;
  #hello: Hello | null = null;

  constructor(link: Link, config: IncomingConfig) {
    this.#config = config;
    this.#link = link;
    this.#liveness = new Liveness(config.env);
  }

  /** It carries what the member always says. */
  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** It is for something else: its end says nothing of the member. */
  get isAside(): boolean {
    return this.#hello !== null && this.#hello.purpose !== "raft";
  }

  /** It has not said yet who it is. */
  get isStranger(): boolean {
    return this.#state === "greeting";
  }

  /** 0 until it has said who it is. */
  get from(): NodeId {
    return this.#hello?.from ?? 0;
  }

  /** As it calls itself: the members may not know that yet, or no more. */
  get name(): string {
    return this.#hello?.name ?? "";
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
      this.#fault(`what it says cannot be read: ${error.message}`);
    }
  }

  drained(): void {
    this.#serving?.drained();
  }

  closed(why: string): void {
    this.#serving?.closed(why);
    this.#over(why);
  }

  sweep(isLate: boolean): void {
    if (isLate) this.#liveness.heard();
    else if (this.#liveness.isSilent) this.#fault("nothing was heard");
    else if (this.#state === "open" || this.#state === "serving") {
      this.#liveness.keepAlive(this.#link);
      this.#serving?.sweep();
    }
  }

  end(why: string, fault?: string): void {
    this.#serving?.end(why);
    this.#link.close(fault);
    this.#over(why);
  }

  /** Ends for what the caller did, who is told. */
  #fault(why: string): void {
    this.end(why, `the caller is given up: ${why}`);
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
    } else if (this.#state === "serving") this.#serving?.frame(frame);
    else this.#fault("it speaks out of turn");
  }

  #greet(hello: Hello): void {
    const { self, membership, liveBoot } = this.#config;
    if (hello.purpose === "join") {
      this.#tell(hello);
      return;
    }
    const verdict = judgeHello(hello, self, membership, liveBoot(hello.from));
    if (typeof verdict !== "number") {
      this.#refuse(hello, verdict);
      return;
    }
    this.#state = "meeting";
    // Who pulls a snapshot has no data yet, or none that counts: only who takes part is remembered by his directory.
    const isPull = hello.purpose === "snapshot" && !membership.isMet(hello.from);
    const meet: typeof membership.meet = isPull
      ? (_id, _walId, done) => done(null)
      : (id, walId, done) => membership.meet(id, walId, done);
    meet(hello.from, hello.walId, (error) => {
      if (this.#state !== "meeting") return;
      // Two may have met while this one was written down.
      const live = liveBoot(hello.from);
      const again = judgeHello(hello, self, membership, live);
      if (error !== null) this.end(`it cannot be remembered: ${error.message}`);
      else if (typeof again !== "number") this.#refuse(hello, again);
      else {
        this.#hello = hello;
        this.#link.send(encodePeerFrame(welcomeOf(self, verdict)));
        this.#liveness.said();
        this.#open(hello);
      }
    });
  }

  #open(hello: Hello): void {
    if (hello.purpose === "raft") {
      this.#state = "open";
      this.#config.taken(this);
    } else {
      this.#state = "serving";
      this.#serving = this.#config.serve(this.#link, hello);
      if (this.#serving === null) this.end("there are no snapshots here");
    }
  }

  /** A node that wants to join is told what it must know, whoever it is: it takes part when it has made its directory. */
  #tell(hello: Hello): void {
    const { self, joinInfo } = this.#config;
    const version = versionWith(hello);
    if (typeof version !== "number") {
      this.#refuse(hello, version);
      return;
    }
    const info = joinInfo();
    if (info !== null) {
      this.#link.send(encodePeerFrame(welcomeOf(self, version)));
      this.#link.send(encodePeerFrame(info));
    }
    this.end("it has been told about the cluster");
  }

  #refuse(hello: Hello, why: PeerRefusal): void {
    this.#config.refused(hello, why);
    this.#link.send(encodePeerFrame(why));
    this.end(why.code);
    if (why.code === "UNKNOWN_MEMBER") this.#config.strange(hello);
  }

  #over(why: string): void {
    if (this.#state === "ended") return;
    const { env } = this.#config;
    if (this.#state === "open")
      env.log("info", "peer", `${this.name} is not heard any more`, { peer: this.name, why });
    else if (this.#state !== "serving")
      env.log("debug", "peer", "a call of another node came to nothing", { why });
    this.#state = "ended";
    this.#config.ended(this);
  }

  #currentState(): string {
    return this.#state;
  }
}
