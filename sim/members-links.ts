/**
 * The links of a simulated member: what leaves is seen before it leaves, what comes waits while the process is stopped, and
 * is seen when it is looked at.
 */
import type { Link, LinkEvents, Links } from "../src/env/index.ts";
import type { Pausable } from "./cluster-env.ts";

/** Of one link: whatever is said on it, and whatever is heard, damaged or not. */
export interface LinkObserver {
  said(frame: Uint8Array): void;
  heard(frame: Uint8Array): void;
}

/** `observe` is asked once for each link. */
export function tappedLinks(links: Links, body: Pausable, observe: () => LinkObserver): Links {
  return {
    dial: (url, events) => {
      const observer = observe();
      return new TappedLink(links.dial(url, new HeldEvents(body, observer, events)), observer);
    },
    accept: (take) =>
      links.accept(
        take === null
          ? null
          : (link) => {
              const observer = observe();
              const held = new HeldEvents(body, observer, null);
              body.input(() => {
                held.events = take(new TappedLink(link, observer));
              });
              return held;
            },
      ),
  };
}

class TappedLink implements Link {
  readonly #inner: Link;
  readonly #observer: LinkObserver;

  constructor(inner: Link, observer: LinkObserver) {
    this.#inner = inner;
    this.#observer = observer;
  }

  get unsentBytes(): number {
    return this.#inner.unsentBytes;
  }

  send(frame: Uint8Array): void {
    this.#observer.said(frame);
    this.#inner.send(frame);
  }

  close(): void {
    this.#inner.close();
  }
}

class HeldEvents implements LinkEvents {
  readonly #body: Pausable;
  readonly #observer: LinkObserver;
  /** Null until the process has looked at the call. */
  events: LinkEvents | null;

  constructor(body: Pausable, observer: LinkObserver, events: LinkEvents | null) {
    this.#body = body;
    this.#observer = observer;
    this.events = events;
  }

  frame(bytes: Uint8Array): void {
    this.#body.input(() => {
      this.#observer.heard(bytes);
      this.events?.frame(bytes);
    });
  }

  drained(): void {
    this.#body.input(() => this.events?.drained());
  }

  closed(why: string): void {
    this.#body.input(() => this.events?.closed(why));
  }
}
