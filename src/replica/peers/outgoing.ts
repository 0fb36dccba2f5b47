/**
 * What this node says to one other member, over one link at a time.
 *
 *                 dial            hello sent        welcome, its directory known
 *     waiting ------------> greeting ------------------------------------------> open
 *        ^                     |  refused, closed, no answer in time               |
 *        +---------------------+---------------------------------------------------+
 *          after a pause that doubles, drawn anew each time so that members do not call in step
 */
import {
  DecodeError,
  decodePeerFrame,
  encodePeerFrame,
  type PeerRefusal,
  type Welcome,
} from "../../codec/index.ts";
import type { Env, Link, Links, Timer } from "../../env/index.ts";
import { helloTo, judgeWelcome } from "./handshake.ts";
import { Liveness } from "./liveness.ts";
import { labelOf, type Member, type Membership, type Self } from "./membership.ts";
import { SendQueue } from "./queue.ts";
import { Trouble } from "./trouble.ts";

const PAUSE_FIRST_MS = 50;
const PAUSE_MAX_MS = 2000;
/** Between two calls to a member that refuses: somebody has to do something before it is worth more. */
const PAUSE_REFUSED_MS = 5000;
/** Handed to the link before it is asked to wait: more would only wait elsewhere, where nothing overtakes it. */
const LINK_BYTES_MAX: number = 64 * 1024;

export interface OutgoingConfig {
  readonly env: Env;
  readonly links: Links;
  readonly self: Self;
  readonly member: Member;
  readonly membership: Membership;
  /** A link to the member is open; what was said on the one before may be lost. */
  readonly opened: (welcome: Welcome) => void;
  /** What was said since `opened` may be lost. */
  readonly lost: () => void;
  /** Nobody listens where the member does: at none of its URLs, one after the other. */
  readonly gone: () => void;
  /** The member refuses this node, and says why. */
  readonly refused: (refusal: PeerRefusal) => void;
}

/**
 * Invariants: at most one link; items are taken only while it is open, and go out in the order in which they were
 * taken, those that overtake first; after `lost` nothing of before is sent again.
 */
export class Outgoing {
  #member: Member;
  readonly #config: OutgoingConfig;
  readonly #queue = new SendQueue();
  #state: "waiting" | "greeting" | "open" | "ended" = "waiting";
  #link: Link | null = null;
  #liveness: Liveness;
  #pause: Timer | null = null;
  #pauseMs = PAUSE_FIRST_MS;
  #calls = 0;
  /** How many calls in a row found nobody who listens. */
  #unheard = 0;
  #boot: Uint8Array | null = null;
  #dropped = 0;
  readonly #trouble: Trouble;
  #refusedBy: string | null = null;

  constructor(config: OutgoingConfig) {
    this.#config = config;
    this.#member = config.member;
    this.#liveness = new Liveness(config.env);
    this.#trouble = new Trouble(config.env);
  }

  get member(): Member {
    return this.#member;
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** The process that answers at the other end; null without a link. */
  get boot(): Uint8Array | null {
    return this.#boot;
  }

  /** Items that were not sent because there was no link or no room. */
  get dropped(): number {
    return this.#dropped;
  }

  get queuedBytes(): number {
    return this.#queue.bytes + (this.#link?.unsentBytes ?? 0);
  }

  /** The code with which the member refuses this node, or this node the member; null when nobody refuses. */
  get refusedBy(): string | null {
    return this.#refusedBy;
  }

  start(): void {
    this.#dial();
  }

  /** The member has another name, or listens elsewhere: then it is called there. */
  becomes(member: Member): void {
    const isElsewhere = member.peerUrls.join() !== this.#member.peerUrls.join();
    this.#member = member;
    if (!isElsewhere || this.#state === "ended") return;
    this.#pauseMs = PAUSE_FIRST_MS;
    if (this.#link !== null) this.reset("it has moved");
    else if (this.#pause !== null) {
      this.#pause.cancel();
      this.#dial();
    }
  }

  /**
   * False when it was not taken: no link, or no room. It will never be sent then. One that overtakes leaves before all that
   * waits and does not.
   */
  send(item: Uint8Array, overtakes: boolean): boolean {
    if (this.#state === "open" && this.#queue.push(item, overtakes)) return true;
    this.#dropped++;
    return false;
  }

  /** What has been taken in this turn leaves in as few frames as hold it. */
  flush(): void {
    const link = this.#link;
    if (this.#state !== "open" || link === null) return;
    while (link.unsentBytes < LINK_BYTES_MAX) {
      const frame = this.#queue.takeFrame();
      if (frame === null) return;
      link.send(frame);
      this.#liveness.said();
    }
  }

  /** Called every now and then. `isLate`: this process stood still, so silence proves nothing. */
  sweep(isLate: boolean): void {
    const link = this.#link;
    if (link === null) return;
    if (isLate) this.#liveness.heard();
    else if (this.#liveness.isSilent) this.reset("nothing was heard");
    else if (this.#state === "open") this.#liveness.keepAlive(link);
  }

  /** Gives the link up and calls again. */
  reset(why: string): void {
    if (this.#link === null) return;
    this.#link.close();
    this.#over(why);
  }

  end(): void {
    this.#pause?.cancel();
    this.#link?.close();
    this.#link = null;
    this.#boot = null;
    this.#queue.clear();
    this.#state = "ended";
  }

  #dial(): void {
    const { links, self } = this.#config;
    const member = this.#member;
    const url = member.peerUrls[this.#calls++ % member.peerUrls.length] as string;
    this.#state = "greeting";
    this.#liveness = new Liveness(this.#config.env);
    const link: Link = links.dial(url, {
      frame: (bytes) => {
        if (link === this.#link) this.#heard(bytes);
      },
      drained: () => {
        if (link === this.#link) this.flush();
      },
      closed: (why, isRefused) => {
        if (link !== this.#link) return;
        this.#unheard = isRefused === true ? this.#unheard + 1 : 0;
        this.#over(why);
        if (this.#unheard >= this.#member.peerUrls.length) this.#config.gone();
      },
    });
    this.#link = link;
    link.send(encodePeerFrame(helloTo(self, member.id)));
    this.#liveness.said();
  }

  #heard(bytes: Uint8Array): void {
    this.#liveness.heard();
    let frame: ReturnType<typeof decodePeerFrame>;
    try {
      frame = decodePeerFrame(bytes);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.reset(`what it says cannot be read: ${error.message}`);
      return;
    }
    if (frame.kind === "refusal") {
      this.#refuse(`refuses this member: ${frame.detail}`, frame.code);
      this.#config.refused(frame);
    } else if (frame.kind === "welcome" && this.#state === "greeting") this.#welcomed(frame);
    else if (frame.kind !== "batch" || this.#state !== "open" || frame.items.length > 0)
      this.reset("it speaks out of turn");
  }

  #welcomed(welcome: Welcome): void {
    const { membership, env } = this.#config;
    const member = this.#member;
    const refused = judgeWelcome(welcome, member.id, membership);
    if (refused !== null) {
      this.#refuse(`is refused: ${refused.detail}`, refused.code);
      return;
    }
    const link = this.#link;
    membership.meet(member.id, welcome.walId, (error) => {
      if (link !== this.#link || this.#state !== "greeting") return;
      if (error !== null) {
        this.reset(`it cannot be remembered: ${error.message}`);
        return;
      }
      this.#state = "open";
      this.#boot = welcome.bootId;
      this.#refusedBy = null;
      this.#pauseMs = PAUSE_FIRST_MS;
      const failed = this.#trouble.passed();
      const peer = labelOf(member);
      env.log("info", "peer", `speaks to ${peer}`, { peer, ...(failed > 1 ? { failed } : {}) });
      this.#config.opened(welcome);
    });
  }

  #refuse(what: string, code: string): void {
    this.#refusedBy = code;
    this.#link?.close();
    this.#over(what, code);
  }

  #over(why: string, refusedBy?: string): void {
    if (this.#state === "ended") return;
    const wasOpen = this.#state === "open";
    const { env } = this.#config;
    const member = this.#member;
    this.#link = null;
    this.#boot = null;
    this.#dropped += this.#queue.length;
    this.#queue.clear();
    this.#state = "waiting";
    const times = this.#trouble.came(why);
    if (times !== null) {
      const level = refusedBy === undefined ? "warn" : "error";
      const peer = labelOf(member);
      const fields = { peer, url: member.peerUrls.join(","), why };
      env.log(level, "peer", `no link to ${peer}`, {
        ...fields,
        ...(refusedBy === undefined ? {} : { code: refusedBy }),
        ...(times === 1 ? {} : { times }),
      });
    }
    // A member that was just added may be known to some and not yet to others.
    const isLasting = refusedBy !== undefined && refusedBy !== "UNKNOWN_MEMBER";
    const pauseMs = isLasting ? PAUSE_REFUSED_MS : this.#pauseMs;
    this.#pauseMs = Math.min(PAUSE_MAX_MS, this.#pauseMs * 2);
    // Between half of it and all of it.
    const drawnMs = pauseMs / 2 + ((pauseMs / 2) * env.entropy.u32()) / 0x1_0000_0000;
    this.#pause = env.timers.after(drawnMs, () => {
      if (this.#state === "waiting") this.#dial();
    });
    if (wasOpen) this.#config.lost();
  }
}
