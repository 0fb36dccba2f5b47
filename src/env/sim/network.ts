/**
 * The network between simulated machines: links as `../links.ts` promises them and no better. Each way from one machine
 * to another has its own weather: slow, narrow, silent, or such that bits flip. What happens follows from the seed.
 *
 *     machine A --- way A to B: delay, capacity, cut ---> machine B      a process that is killed resets its links;
 *     machine A <-- way B to A: its own --------------- machine B        power that fails leaves them silent
 */
import { hash32 } from "../../base/index.ts";
import type { Link, LinkEvents, Links } from "../links.ts";
import type { SimProcess } from "./files.ts";
import type { SimScheduler } from "./scheduler.ts";

/** How a way behaves. */
export interface WayWeather {
  /** Nothing passes. What is sent meanwhile passes when it clears, unless the link is given up before. */
  readonly isCut: boolean;
  readonly delayMs: number;
  /** 0: no limit. */
  readonly bytesPerMs: number;
  /** So many of 100 frames arrive with a bit flipped. */
  readonly flipPercent: number;
}

export const CLEAR_WAY: WayWeather = Object.freeze({
  isCut: false,
  delayMs: 1,
  bytesPerMs: 0,
  flipPercent: 0,
});

/** Between two frames of a way: events of one moment would happen in any order. */
const ORDER_GAP_MS: number = 1 / 1024;
const WAITING_MAX_MS = 1_000;

/** What is said on a way: a call, a frame, an end. */
type Said =
  | { readonly kind: "call" }
  | { readonly kind: "frame"; readonly bytes: Uint8Array }
  | { readonly kind: "end"; readonly why: string };

/** One direction between two machines. */
class Way {
  weather: WayWeather = CLEAR_WAY;
  freeAtMs = 0;
  said = 0;
  /** By whom something was said that would have arrived and waits for the weather to clear. */
  held: End[] = [];
}

/**
 * One end of a link. What it says arrives in its order, however the weather changes meanwhile: nothing overtakes what left
 * before the way became faster or was cut. Of two links one may well be overtaken by the other.
 */
class End implements Link {
  readonly network: SimNetwork;
  readonly machine: SimMachine;
  readonly process: SimProcess;
  readonly peer: { readonly url: string };
  /** The other end, which knows this one. */
  other: End | null = null;
  events: LinkEvents | null = null;
  isOver = false;
  unsentBytes = 0;
  /** Said and not yet arrived, in order, and when the last of it arrives. */
  readonly line: Said[] = [];
  lastAtMs = 0;

  constructor(
    network: SimNetwork,
    machine: SimMachine,
    process: SimProcess,
    peer: { readonly url: string },
  ) {
    this.network = network;
    this.machine = machine;
    this.process = process;
    this.peer = peer;
  }

  send(frame: Uint8Array): void {
    if (this.isOver || !this.process.alive) return;
    this.unsentBytes += frame.length;
    this.network.say(this, { kind: "frame", bytes: frame.slice() });
  }

  close(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.machine.ends.delete(this);
    if (this.process.alive) this.network.say(this, { kind: "end", why: "closed" });
  }

  /** The link is over for this end's owner, too. */
  break(why: string, isRefused = false): void {
    if (this.isOver) return;
    this.isOver = true;
    this.machine.ends.delete(this);
    if (this.process.alive) this.events?.closed(why, isRefused);
  }
}

/** A machine on the network, under its URL. */
class SimMachine {
  readonly url: string;
  process: SimProcess | null = null;
  /** Its power has failed: nobody answers for it. */
  isOff = false;
  take: ((link: Link) => LinkEvents) | null = null;
  readonly ends: Set<End> = new Set();

  constructor(url: string) {
    this.url = url;
  }
}

export interface SimNetworkStats {
  frames: number;
  flipped: number;
  broken: number;
}

export class SimNetwork {
  readonly stats: SimNetworkStats = { frames: 0, flipped: 0, broken: 0 };
  readonly #scheduler: SimScheduler;
  readonly #seed: number;
  readonly #machines: Map<string, SimMachine> = new Map();
  readonly #ways: Map<string, Way> = new Map();

  constructor(scheduler: SimScheduler, seed: number) {
    this.#scheduler = scheduler;
    this.#seed = seed;
  }

  /** The links of a process that has just started on the machine of this URL. */
  attach(url: string, process: SimProcess): Links {
    const machine = this.#machine(url);
    machine.process = process;
    machine.isOff = false;
    machine.take = null;
    return {
      dial: (to, events) => this.#dial(machine, process, to, events),
      accept: (take) => {
        if (process.alive) machine.take = take;
      },
    };
  }

  /** The process of this machine has ended. `isKilled`: its kernel says so to the others; power that fails says nothing. */
  detach(url: string, isKilled: boolean): void {
    const machine = this.#machine(url);
    machine.process = null;
    machine.isOff = !isKilled;
    machine.take = null;
    for (const end of machine.ends) {
      end.isOver = true;
      machine.ends.delete(end);
      if (isKilled) this.say(end, { kind: "end", why: "reset" });
    }
  }

  weather(from: string, to: string): WayWeather {
    return this.#way(from, to).weather;
  }

  setWeather(from: string, to: string, change: Partial<WayWeather>): void {
    const way = this.#way(from, to);
    way.weather = { ...way.weather, ...change };
    if (way.weather.isCut) return;
    for (const end of way.held.splice(0)) this.#schedule(way, end, this.#scheduler.nowMs);
  }

  /**
   * Nobody waits any longer for what a way that is wide again was too narrow for: where that would take more than a second,
   * the links are broken.
   */
  clear(from: string, to: string): void {
    const way = this.#way(from, to);
    if (way.freeAtMs <= this.#scheduler.nowMs + WAITING_MAX_MS) return;
    way.freeAtMs = this.#scheduler.nowMs;
    this.breakLinks(from, to);
  }

  /** Breaks every link between the two, as a middlebox does: both ends hear of it, and what was on its way is lost. */
  breakLinks(a: string, b: string): void {
    for (const end of this.#machine(a).ends) {
      if (end.peer.url !== b) continue;
      this.stats.broken++;
      const { other } = end;
      this.#scheduler.soon(() => end.break("reset"));
      if (other !== null) this.#scheduler.soon(() => other.break("reset"));
    }
  }

  /** For the ends. */
  say(from: End, said: Said): void {
    const way = this.#way(from.machine.url, from.peer.url);
    const { bytesPerMs, flipPercent } = way.weather;
    const dice = hash32(this.#seed, way.said++);
    const bytes = said.kind === "frame" ? said.bytes.length : 0;
    const takesMs = bytesPerMs > 0 ? bytes / bytesPerMs : 0;
    const startMs = Math.max(this.#scheduler.nowMs, way.freeAtMs);
    way.freeAtMs = startMs + takesMs + ORDER_GAP_MS;
    if (said.kind === "frame" && bytes > 0 && (dice & 127) * 100 < flipPercent * 128) {
      this.stats.flipped++;
      const bit = (dice >>> 7) % (bytes * 8);
      said.bytes[bit >> 3] = (said.bytes[bit >> 3] as number) ^ (1 << (bit & 7));
    }
    from.line.push(said);
    this.#schedule(way, from, way.freeAtMs);
  }

  /** The first of what this end has said and has not arrived does then, unless nothing passes. */
  #schedule(way: Way, from: End, leavesAtMs: number): void {
    from.lastAtMs = Math.max(from.lastAtMs + ORDER_GAP_MS, leavesAtMs + way.weather.delayMs);
    this.#scheduler.at(from.lastAtMs, () => {
      if (way.weather.isCut) way.held.push(from);
      else this.#arrive(from, from.line.shift() as Said);
    });
  }

  #dial(machine: SimMachine, process: SimProcess, url: string, events: LinkEvents): Link {
    const end = new End(this, machine, process, { url });
    end.events = events;
    machine.ends.add(end);
    this.say(end, { kind: "call" });
    return end;
  }

  #arrive(end: End, said: Said): void {
    if (said.kind === "call") {
      this.#answerCall(end);
      return;
    }
    if (said.kind === "frame") end.unsentBytes -= said.bytes.length;
    const other = end.other;
    if (other === null || other.isOver) {
      // Nobody there knows of this link. A machine that lives says so; one without power does not.
      const there = this.#machine(end.peer.url);
      if (said.kind === "frame" && !there.isOff && !end.isOver)
        this.#scheduler.soon(() => end.break("reset"));
      return;
    }
    if (said.kind === "end") {
      other.break(said.why);
      return;
    }
    this.stats.frames++;
    if (other.process.alive) other.events?.frame(said.bytes);
    if (!end.isOver && end.process.alive) end.events?.drained();
  }

  #answerCall(caller: End): void {
    if (caller.isOver) return;
    const machine = this.#machine(caller.peer.url);
    const { process, take } = machine;
    if (machine.isOff) return;
    if (take === null || process?.alive !== true) {
      this.#scheduler.soon(() => caller.break("refused", true));
      return;
    }
    const end = new End(this, machine, process, caller.machine);
    end.other = caller;
    caller.other = end;
    machine.ends.add(end);
    end.events = take(end);
  }

  #machine(url: string): SimMachine {
    let machine = this.#machines.get(url);
    if (machine === undefined) {
      machine = new SimMachine(url);
      this.#machines.set(url, machine);
    }
    return machine;
  }

  #way(from: string, to: string): Way {
    const name = `${from} ${to}`;
    let way = this.#ways.get(name);
    if (way === undefined) {
      way = new Way();
      this.#ways.set(name, way);
    }
    return way;
  }
}
