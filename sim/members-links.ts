/** The links of a simulated member: what leaves is seen before it leaves, and what comes waits while the process is stopped. */
import type { Link, LinkEvents, Links } from "../src/env/index.ts";
import type { Pausable } from "./cluster-env.ts";

/** Hears every frame that leaves on a link. */
export type FrameObserver = (frame: Uint8Array) => void;

/** `observe` is asked once for each link. */
export function tappedLinks(links: Links, body: Pausable, observe: () => FrameObserver): Links {
  return {
    dial: (url, events) => new TappedLink(links.dial(url, new HeldEvents(body, events)), observe()),
    accept: (take) =>
      links.accept(
        take === null
          ? null
          : (link) => {
              const held = new HeldEvents(body, null);
              body.input(() => {
                held.events = take(new TappedLink(link, observe()));
              });
              return held;
            },
      ),
  };
}

class TappedLink implements Link {
  readonly #inner: Link;
  readonly #observe: FrameObserver;

  constructor(inner: Link, observe: FrameObserver) {
    this.#inner = inner;
    this.#observe = observe;
  }

  get unsentBytes(): number {
    return this.#inner.unsentBytes;
  }

  send(frame: Uint8Array): void {
    this.#observe(frame);
    this.#inner.send(frame);
  }

  close(): void {
    this.#inner.close();
  }
}

class HeldEvents implements LinkEvents {
  readonly #body: Pausable;
  /** Null until the process has looked at the call. */
  events: LinkEvents | null;

  constructor(body: Pausable, events: LinkEvents | null) {
    this.#body = body;
    this.events = events;
  }

  frame(bytes: Uint8Array): void {
    this.#body.input(() => this.events?.frame(bytes));
  }

  drained(): void {
    this.#body.input(() => this.events?.drained());
  }

  closed(why: string): void {
    this.#body.input(() => this.events?.closed(why));
  }
}
