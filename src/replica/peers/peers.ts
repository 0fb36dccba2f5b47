/**
 * All links of a node: it calls every other member and is called by each, one link for each direction. What a turn has
 * to say to a member, of all groups, leaves in one frame at the end of the turn: the heartbeats of a hundred idle
 * groups are one small write.
 */
import { assert } from "../../base/index.ts";
import {
  encodePeerItem,
  type Hello,
  type JoinInfo,
  type PeerItem,
  type PeerRefusal,
} from "../../codec/index.ts";
import type { Env, Link, Links, LinkEvents, Timer } from "../../env/index.ts";
import type { Message, NodeId } from "../../raft/index.ts";
import type { SnapshotServer } from "../snapshots/server.ts";
import { Incoming } from "./incoming.ts";
import type { Member, Membership, Self } from "./membership.ts";
import { Outgoing } from "./outgoing.ts";
import { Refusals } from "./refusals.ts";
import { RoundTrips } from "./round-trips.ts";

export interface PeersConfig {
  readonly env: Env;
  readonly links: Links;
  readonly self: Self;
  readonly membership: Membership;
  /** Something has come from a member that is who it says it is. */
  readonly deliver: (item: PeerItem, from: NodeId) => void;
  /** What was said to or by this member in the last moments may be lost. */
  readonly lost: (member: NodeId) => void;
  /**
   * This member's process has ended: it is not heard, and nobody listens where it would be. So says its machine, or whoever
   * stands in front of it, so it may be wrong. Said again with each call.
   */
  readonly gone: (member: NodeId) => void;
  /** There is a way to this member again. */
  readonly linked: (member: NodeId) => void;
  /** For a node that wants to join. Absent: nothing is told. */
  readonly joinInfo?: (() => JoinInfo) | undefined;
  /** A node of this cluster calls that is no member as far as is known here: perhaps this one is behind. */
  readonly strange?: ((hello: Hello) => void) | undefined;
  /** For members that pull snapshots from this one. Absent: there are none. */
  readonly snapshots?: SnapshotServer | undefined;
  /** A member says that this node does not belong to it, with a code that stays the same. */
  readonly refused?: ((member: Member, refusal: PeerRefusal) => void) | undefined;
}

/** How it stands with one other member. */
export interface PeerStatus {
  readonly id: NodeId;
  readonly name: string;
  readonly peerUrls: readonly string[];
  /** As it said them when it was last met. */
  readonly clientUrls: readonly string[];
  readonly speaks: boolean;
  readonly listens: boolean;
  readonly queuedBytes: number;
  readonly dropped: number;
  /** The code with which one refuses the other. */
  readonly refusedBy: string | null;
  /** Of a heartbeat from here and its answer; null unless this member leads and has been answered. */
  readonly roundTripMs: number | null;
}

const SWEEP_MS = 500;
/** Calls that have not said who they are: more are turned away (fault-rules N8). */
const STRANGERS_MAX = 64;
const TOO_MANY = "too many calls of nodes that do not say who they are";

export class Peers {
  readonly #config: PeersConfig;
  readonly #outgoing: Map<NodeId, Outgoing> = new Map();
  readonly #incoming: Set<Incoming> = new Set();
  readonly #clientUrls: Map<NodeId, readonly string[]> = new Map();
  readonly #refusals: Refusals;
  readonly #roundTrips: RoundTrips;
  #sweeper: Timer | null = null;
  #sweptMs = 0;
  #isStarted = false;
  #isEnded = false;

  constructor(config: PeersConfig) {
    this.#config = config;
    this.#refusals = new Refusals(config.env);
    this.#roundTrips = new RoundTrips(config.env.clock);
    this.follow();
  }

  start(): void {
    assert(this.#sweeper === null, "the links of a node start once");
    const { env, links } = this.#config;
    links.accept((link) => this.#accept(link));
    this.#isStarted = true;
    for (const outgoing of this.#outgoing.values()) outgoing.start();
    this.#sweptMs = env.clock.monotonicMs();
    this.#arm();
  }

  /** The members may have changed: who is new is called, and who is none any more is neither called nor heard. */
  follow(): void {
    const { self, membership } = this.#config;
    if (this.#isEnded) return;
    for (const member of membership.members) {
      if (member.id === self.memberId) continue;
      const known = this.#outgoing.get(member.id);
      if (known === undefined) this.#call(member);
      else known.becomes(member);
    }
    for (const [id, outgoing] of this.#outgoing) {
      if (membership.of(id) !== undefined) continue;
      this.#outgoing.delete(id);
      this.#clientUrls.delete(id);
      outgoing.end();
      for (const incoming of this.#incoming)
        if (incoming.from === id) incoming.end("it is no member any more");
      this.#config.lost(id);
    }
  }

  #call(member: Member): void {
    const { env, links, self, membership, linked, lost, gone, refused } = this.#config;
    const { id } = member;
    const lostWay = (): void => {
      this.#roundTrips.forget(id);
      lost(id);
    };
    const outgoing: Outgoing = new Outgoing({
      env,
      links,
      self,
      member,
      membership,
      opened: ({ clientUrls }) => {
        this.#clientUrls.set(id, clientUrls);
        linked(id);
      },
      lost: lostWay,
      gone: () => {
        if (!this.#hears(id)) gone(id);
      },
      refused: (refusal) => refused?.(outgoing.member, refusal),
    });
    this.#outgoing.set(id, outgoing);
    if (this.#isStarted) outgoing.start();
  }

  /** There is a link to this member and one from it. */
  isLinked(member: NodeId): boolean {
    return this.#outgoing.get(member)?.isOpen === true && this.#hears(member);
  }

  /** Takes a message of Raft, which may be lost. Its entries are copied here and now. */
  send(message: Message): void {
    const { group, to } = message;
    const outgoing = this.#outgoing.get(to);
    if (outgoing?.isOpen !== true) return;
    outgoing.send(encodePeerItem({ kind: "raft", group, message }), overtakes(message));
    if (message.type === "heartbeat") this.#roundTrips.asked(to);
  }

  /** False: it was not taken and never leaves. True: it arrives, unless `lost` is called for the member. */
  tell(to: NodeId, item: PeerItem): boolean {
    const outgoing = this.#outgoing.get(to);
    return outgoing?.isOpen === true && outgoing.send(encodePeerItem(item), false);
  }

  /** As `tell`, for what its receiver waits for: without room for it the link is given up, which tells him as well. */
  tellForSure(to: NodeId, item: PeerItem): void {
    if (!this.tell(to, item)) this.#outgoing.get(to)?.reset("no room for an answer");
  }

  /** At the end of a turn. */
  flush(): void {
    for (const outgoing of this.#outgoing.values()) outgoing.flush();
  }

  status(): readonly PeerStatus[] {
    return [...this.#outgoing.values()].map((outgoing) => {
      const { id, name, peerUrls } = outgoing.member;
      return {
        id,
        name,
        peerUrls,
        clientUrls: this.#clientUrls.get(id) ?? [],
        speaks: this.#hears(id),
        listens: outgoing.isOpen,
        queuedBytes: outgoing.queuedBytes,
        dropped: outgoing.dropped,
        refusedBy: outgoing.refusedBy,
        roundTripMs: this.#roundTrips.of(id),
      };
    });
  }

  /** Ends all links. */
  end(): void {
    this.#isEnded = true;
    this.#sweeper?.cancel();
    this.#config.links.accept(null);
    for (const outgoing of this.#outgoing.values()) outgoing.end();
    for (const incoming of this.#incoming) incoming.end("this node stops");
  }

  #arm(): void {
    const { env } = this.#config;
    this.#sweeper = env.timers.after(SWEEP_MS, () => {
      const nowMs = env.clock.monotonicMs();
      // This process stood still and has not yet looked at what came meanwhile (fault-rules K3).
      const isLate = nowMs - this.#sweptMs > 2 * SWEEP_MS;
      this.#sweptMs = nowMs;
      for (const incoming of this.#incoming) incoming.sweep(isLate);
      for (const outgoing of this.#outgoing.values()) outgoing.sweep(isLate);
      this.#refusals.sweep();
      this.#arm();
    });
  }

  #accept(link: Link): LinkEvents {
    const { env, self, membership, deliver, snapshots } = this.#config;
    const incoming = new Incoming(link, {
      env,
      self,
      membership,
      liveBoot: (from) => this.#liveBoot(from),
      joinInfo: () => this.#config.joinInfo?.() ?? null,
      refused: (hello, why) => this.#refusals.refused(hello, why),
      strange: (hello) => this.#config.strange?.(hello),
      taken: (taken) => this.#taken(taken),
      deliver: (item, from) => {
        if (item.kind === "raft" && item.message.type === "heartbeatResponse")
          this.#roundTrips.answered(from);
        deliver(item, from);
      },
      serve: (of, hello) => snapshots?.serve(of, hello) ?? null,
      ended: (ended) => {
        this.#incoming.delete(ended);
        const isMissed = ended.from !== 0 && !ended.isAside && !this.#isEnded;
        if (isMissed) this.#config.lost(ended.from);
      },
    });
    this.#incoming.add(incoming);
    const strangers = [...this.#incoming].filter(({ isStranger }) => isStranger);
    // The oldest has had most time to say it: those who come and say nothing do not keep a member out.
    if (strangers.length > STRANGERS_MAX) strangers[0]?.end(TOO_MANY, TOO_MANY);
    return incoming;
  }

  /** One link for each direction: the one before is given up by its process, which has opened another. */
  #taken(taken: Incoming): void {
    for (const incoming of this.#incoming) {
      const isOlder = incoming !== taken && !incoming.isAside;
      if (isOlder && incoming.from === taken.from) incoming.end("it called again");
    }
    this.#clientUrls.set(taken.from, taken.clientUrls);
    this.#refusals.taken(taken.from);
    const { name } = taken;
    this.#config.env.log("info", "peer", `hears ${name}`, { peer: name });
  }

  #hears(member: NodeId): boolean {
    for (const { from, isOpen } of this.#incoming) if (isOpen && from === member) return true;
    return false;
  }

  #liveBoot(from: NodeId): Uint8Array | null {
    for (const incoming of this.#incoming) {
      if (incoming.isOpen && incoming.from === from) return incoming.boot;
    }
    return this.#outgoing.get(from)?.boot ?? null;
  }
}

/**
 * Small, and needs no order with what carries entries: a heartbeat names only what its receiver has acknowledged. On a way
 * that is full it would otherwise come so late that the leader is given up.
 */
function overtakes({ type }: Message): boolean {
  return type !== "append" && type !== "snapshot";
}
