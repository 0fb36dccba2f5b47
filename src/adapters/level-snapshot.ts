/** An explicit snapshot of a level: a pinned state that its users share. */
import type * as Peer from "abstract-level";
import type { Snapshot } from "../index.ts";
import { AbstractSnapshot } from "./level-peer.ts";

/** Who closes the snapshot at his own end. */
interface Owned {
  readonly owner: object;
}

/** The types of abstract-level leave the constructor out. */
const Base: new (options: Owned) => Peer.AbstractSnapshot = AbstractSnapshot as never;

export class LevelSnapshot extends Base {
  /** @internal */
  readonly state: Snapshot<Uint8Array>;

  constructor(options: Owned, state: Snapshot<Uint8Array>) {
    super(options);
    this.state = state;
  }

  /** @internal */
  _close(): Promise<void> {
    return this.state.close();
  }
}
