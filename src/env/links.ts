/**
 * Links to other nodes as the pure layers see them: streams of whole frames, in order, each at most once. A link loses
 * nothing in its middle: either what was sent arrives, or the link breaks and what had not arrived by then never does.
 * It may also fall silent, for as long as it likes, which only its two ends can notice.
 *
 * Nothing is called back inside the call that asked, and nothing after `closed`.
 */

/** What the owner of a link hears. */
export interface LinkEvents {
  /** Stays as it is for as long as it is held. The bytes are whatever the other end sent, or somebody in its place. */
  frame(bytes: Uint8Array): void;
  /** Some of what was sent has left: see `unsentBytes`. */
  drained(): void;
  /**
   * The link is over, or was never there: refused, broken, closed by the other end. Called once, last. `isRefused`: it was
   * never there, and the machine that was called says that nobody listens.
   */
  closed(why: string, isRefused?: boolean): void;
}

export interface Link {
  /** Takes a frame, which is not changed any more. On a link that is over it is dropped. */
  send(frame: Uint8Array): void;
  /** What waits here because the other end or the way to it is slow: the owner sends no more than he wants to wait. */
  readonly unsentBytes: number;
  /**
   * Ends the link at once. Its owner hears nothing more of it; what has not left is dropped. `fault`: what the other end did
   * wrong, which it is told where the way can carry that.
   */
  close(fault?: string): void;
}

export interface Links {
  /** Calls a node. Frames may be sent at once; they leave when the link is open. */
  dial(url: string, events: LinkEvents): Link;
  /** Takes the calls of other nodes from now on; before, and with null, they are refused. */
  accept(take: ((link: Link) => LinkEvents) | null): void;
}
