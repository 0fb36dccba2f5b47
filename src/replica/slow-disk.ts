/**
 * A leader whose disk stands still while the others go on (fault-rules D34). Its next entries wait until its own log has taken
 * those before them, so the whole cluster would stand still with it; and since its heartbeats need no disk, nobody else would
 * want to lead. So it hands the lead over.
 *
 * What shows it is a commit beyond what is durable here, for long: a majority without this member holds what it has sent, and
 * can go on under another. Where this member is needed for the majority, or all disks are as slow, nothing would be won by
 * that, and it leads on.
 */
import type { LogIndex, NodeId, RawNode } from "../raft/index.ts";
import { heirAmong } from "./heir.ts";

/** Two seconds with ticks of 100 ms: a write that takes less costs less than a change of leaders might. */
const STILL_TICKS = 20;

/** Invariant: between two attempts lies as much time as before the first. */
export class SlowDisk {
  readonly #raft: RawNode;
  readonly #hasRoom: (voter: NodeId) => boolean;
  #stableIndex: LogIndex = 0;
  #stillTicks = 0;

  /** `hasRoom`: who has none would stand still as well. */
  constructor(raft: RawNode, hasRoom: (voter: NodeId) => boolean) {
    this.#raft = raft;
    this.#hasRoom = hasRoom;
  }

  /** One unit of time has passed. Gives the member to whom the lead goes now; 0: it stays. */
  tick(): NodeId {
    const { role, commit, stableIndex } = this.#raft;
    const isStill = role === "leader" && stableIndex < commit && stableIndex === this.#stableIndex;
    this.#stableIndex = stableIndex;
    this.#stillTicks = isStill ? this.#stillTicks + 1 : 0;
    if (this.#stillTicks < STILL_TICKS) return 0;
    this.#stillTicks = 0;
    return this.#handOver();
  }

  #handOver(): NodeId {
    const { commit, transferee } = this.#raft;
    if (transferee !== 0) return 0;
    const heir = heirAmong(this.#raft, ({ id, match }) => match >= commit && this.#hasRoom(id));
    if (heir !== 0) this.#raft.transferLeader(heir);
    return heir;
  }
}
