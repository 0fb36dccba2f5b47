/**
 * The network between the members of a test: cut where one member calls another, which is where both directions of a link
 * are at hand. What is cut is silent, as when packets are dropped; a link that was cut is broken when the network heals,
 * since what was said on it meanwhile is gone.
 */
import type { Link, LinkEvents, Links } from "../env/index.ts";

export class Network {
  /** Who answers at which URL. */
  readonly #names: Map<string, string> = new Map();
  readonly #calls: Set<Call> = new Set();
  /** Those on one side; the others are on the other one. */
  #side: ReadonlySet<string> = new Set();

  add(name: string, url: string): void {
    this.#names.set(url, name);
  }

  /** The links of one member, or of one life of it: `hears` says whether it still lives. */
  linksOf(name: string, links: Links, hears: () => boolean): Links {
    return {
      dial: (url, events) => {
        const call = new Call(name, this.#names.get(url) ?? url, alive(events, hears), () =>
          this.#calls.delete(call),
        );
        this.#calls.add(call);
        if (this.#isCut(call)) call.hold();
        else call.begin((heard) => links.dial(url, heard));
        return call;
      },
      accept: (take) => links.accept(take === null ? null : (link) => alive(take(link), hears)),
    };
  }

  /** A member has ended: what it called hears so, as from the kernel of a process. */
  end(name: string): void {
    for (const call of this.#calls) if (call.from === name) call.close();
  }

  /** These hear nothing of the others, and the others nothing of them. */
  partition(names: readonly string[]): void {
    this.#side = new Set(names);
    for (const call of this.#calls) if (this.#isCut(call)) call.hold();
  }

  heal(): void {
    this.#side = new Set();
    for (const call of this.#calls) if (call.isHeld) call.breakOff();
  }

  #isCut({ from, to }: Call): boolean {
    return this.#side.has(from) !== this.#side.has(to);
  }
}

/** Nothing is heard after the end of a life. */
function alive(events: LinkEvents, hears: () => boolean): LinkEvents {
  return {
    frame: (bytes) => {
      if (hears()) events.frame(bytes);
    },
    drained: () => {
      if (hears()) events.drained();
    },
    closed: (why) => {
      if (hears()) events.closed(why);
    },
  };
}

/** A call of one member to another. */
class Call implements Link {
  readonly from: string;
  readonly to: string;
  readonly #events: LinkEvents;
  readonly #forget: () => void;
  #link: Link | null = null;
  #heldBytes = 0;
  isHeld = false;
  #isOver = false;

  constructor(from: string, to: string, events: LinkEvents, forget: () => void) {
    this.from = from;
    this.to = to;
    this.#events = events;
    this.#forget = forget;
  }

  begin(dial: (events: LinkEvents) => Link): void {
    this.#link = dial({
      frame: (bytes) => {
        if (!this.isHeld) this.#events.frame(bytes);
      },
      drained: () => {
        if (!this.isHeld) this.#events.drained();
      },
      closed: (why) => {
        // Of a link over what is cut nobody hears that it has ended.
        if (!this.isHeld) this.#over(why);
      },
    });
  }

  get unsentBytes(): number {
    return this.#heldBytes + (this.#link?.unsentBytes ?? 0);
  }

  send(frame: Uint8Array): void {
    if (this.isHeld) this.#heldBytes += frame.length;
    else this.#link?.send(frame);
  }

  close(): void {
    this.#isOver = true;
    this.#forget();
    this.#link?.close();
  }

  hold(): void {
    this.isHeld = true;
  }

  breakOff(): void {
    this.#link?.close();
    // Nothing is called back within the call that asked.
    setImmediate(() => this.#over("the network was cut"));
  }

  #over(why: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#forget();
    this.#events.closed(why);
  }
}
