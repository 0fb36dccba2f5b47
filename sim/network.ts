/**
 * The network between simulated nodes: one-way links that lose, repeat, reorder, delay and hold back what is sent, and
 * that may be cut in one direction alone. A message stays on its way when its sender dies, and may arrive at a later
 * life of its receiver. What becomes of a message follows from the seed, its link, and its number on that link.
 *
 * Invariant: a link never holds more messages or bytes than its limits say; what comes on top is lost.
 */
import { assert, hash32 } from "../src/base/index.ts";
import type { SimScheduler } from "../src/env/sim/index.ts";

/** How a link behaves. Plain data, so that a step can hold it. */
export type Weather = {
  readonly isCut: boolean;
  /** The cut is where messages begin their way: those that are beyond it arrive. Otherwise it loses them too. */
  readonly isCutAtSender?: boolean;
  readonly lossPercent: number;
  readonly duplicatePercent: number;
  /** Mean of the delay, which is distributed exponentially. */
  readonly delayMs: number;
  /** So many of 100 messages take fifty times as long: they arrive in another world. */
  readonly stragglePercent: number;
  /** Messages arrive in the order in which they were sent. */
  readonly isOrdered: boolean;
  readonly messagesMax: number;
  readonly bytesMax: number;
  /** 0: no limit. */
  readonly bytesPerMs: number;
};

export const FAIR_WEATHER: Weather = {
  isCut: false,
  lossPercent: 0,
  duplicatePercent: 0,
  delayMs: 1,
  stragglePercent: 0,
  isOrdered: true,
  messagesMax: 1000,
  bytesMax: 1 << 22,
  bytesPerMs: 0,
};

/**
 * -ln(1 - (i + 1/2) / 32) in units of 1/256: the exponential distribution without a function whose last bit differs
 * between hosts.
 */
const EXPONENTIAL: readonly number[] = [
  4, 12, 21, 30, 39, 48, 58, 68, 79, 90, 102, 114, 127, 140, 155, 170, 186, 203, 221, 241, 262, 285,
  311, 339, 371, 408, 451, 502, 567, 653, 783, 1065,
];

/** Between two messages that arrive in order: events of one moment happen in any order. */
const ORDER_GAP_MS: number = 1 / 1024;
/** A straggler takes so many times as long. */
const STRAGGLE_FACTOR = 50;

interface Link {
  weather: Weather;
  sent: number;
  /** On its way now. */
  messages: number;
  bytes: number;
  /** When the last of what was sent has left, and when the last in order arrives. */
  freeAtMs: number;
  orderedAtMs: number;
}

export interface NetworkStats {
  sent: number;
  lost: number;
  duplicated: number;
  delivered: number;
  /** No room on the link. */
  refused: number;
}

export class Network<T> {
  readonly stats: NetworkStats = { sent: 0, lost: 0, duplicated: 0, delivered: 0, refused: 0 };
  readonly #scheduler: SimScheduler;
  readonly #seed: number;
  readonly #size: number;
  readonly #deliver: (from: number, to: number, message: T) => void;
  readonly #links: Link[] = [];

  /** Members are numbered from 1 to `size`. */
  constructor(
    scheduler: SimScheduler,
    seed: number,
    size: number,
    deliver: (from: number, to: number, message: T) => void,
  ) {
    this.#scheduler = scheduler;
    this.#seed = seed;
    this.#size = size;
    this.#deliver = deliver;
    for (let i = 0; i < size * size; i++) {
      this.#links.push({
        weather: FAIR_WEATHER,
        sent: 0,
        messages: 0,
        bytes: 0,
        freeAtMs: 0,
        orderedAtMs: 0,
      });
    }
  }

  weather(from: number, to: number): Weather {
    return this.#link(from, to).weather;
  }

  setWeather(from: number, to: number, weather: Weather): void {
    change(this.#link(from, to), weather);
  }

  setWeatherEverywhere(weather: Weather): void {
    for (const link of this.#links) change(link, weather);
  }

  send(from: number, to: number, message: T, sizeBytes: number): void {
    const link = this.#link(from, to);
    const { weather } = link;
    const ordinal = link.sent++;
    const dice = hash32(this.#seed, from * 64 + to, ordinal);
    this.stats.sent++;
    if (weather.isCut || (dice & 127) * 100 < weather.lossPercent * 128) {
      this.stats.lost++;
      return;
    }
    this.#carry(from, to, link, message, sizeBytes, hash32(dice, 1));
    if (((dice >>> 7) & 127) * 100 < weather.duplicatePercent * 128) {
      this.stats.duplicated++;
      this.#carry(from, to, link, message, sizeBytes, hash32(dice, 2));
    }
  }

  invariants(): void {
    for (const { messages, bytes } of this.#links)
      assert(messages >= 0 && bytes >= 0 && (messages > 0 || bytes === 0), "links are counted");
  }

  #carry(from: number, to: number, link: Link, message: T, sizeBytes: number, dice: number): void {
    const { weather } = link;
    if (link.messages >= weather.messagesMax || link.bytes + sizeBytes > weather.bytesMax) {
      this.stats.refused++;
      return;
    }
    const nowMs = this.#scheduler.nowMs;
    let atMs = nowMs;
    if (weather.bytesPerMs > 0) {
      link.freeAtMs = Math.max(link.freeAtMs, nowMs) + sizeBytes / weather.bytesPerMs;
      atMs = link.freeAtMs;
    }
    const isStraggler = ((dice >>> 5) & 127) * 100 < weather.stragglePercent * 128;
    const delay = ((EXPONENTIAL[dice & 31] as number) * weather.delayMs) / 256;
    atMs += isStraggler ? delay * STRAGGLE_FACTOR : delay;
    if (weather.isOrdered && !isStraggler) {
      atMs = Math.max(atMs, link.orderedAtMs + ORDER_GAP_MS);
      link.orderedAtMs = atMs;
    }
    link.messages++;
    link.bytes += sizeBytes;
    this.#scheduler.at(atMs, () => {
      link.messages--;
      link.bytes -= sizeBytes;
      if (link.weather.isCut && link.weather.isCutAtSender !== true) {
        this.stats.lost++;
        return;
      }
      this.stats.delivered++;
      this.#deliver(from, to, message);
    });
  }

  #link(from: number, to: number): Link {
    const link = this.#links[(from - 1) * this.#size + to - 1];
    assert(link !== undefined && from !== to, `there is no link from ${from} to ${to}`);
    return link;
  }
}

/** As a new connection would: what comes now does not wait behind what the old weather still holds back. */
function change(link: Link, weather: Weather): void {
  link.weather = weather;
  link.freeAtMs = 0;
  link.orderedAtMs = 0;
}
