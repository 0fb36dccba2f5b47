/**
 * What becomes of a node that was removed from its cluster (fault-rules N9, R12): it stops and says so, whether it
 * applies its removal itself or is told by the others, who refuse it by name. Its directory stays as it is and opens no
 * more: its id never comes back.
 */
import { HarmonyError } from "../base/index.ts";
import type { Env } from "../env/index.ts";
import type { Roster } from "./roster.ts";

/** So that the answer to who asked for it, and the commit to the others, have left before the node goes. */
const LINGER_MS = 500;
/** A checkpoint that takes longer is not worth the wait: the others tell it again. */
const CHECKPOINT_MS = 10_000;

export class Removal {
  readonly #env: Env;
  readonly #checkpoint: (done: () => void) => void;
  readonly #stop: (error: HarmonyError) => void;
  #isKnown = false;

  constructor(
    env: Env,
    checkpoint: (done: () => void) => void,
    stop: (error: HarmonyError) => void,
  ) {
    this.#env = env;
    this.#checkpoint = checkpoint;
    this.#stop = stop;
  }

  /** The entry that removes this node is applied here: its directory remembers that, whoever is there to tell it. */
  isApplied(): void {
    const error = this.#learn("its removal is in its own log");
    if (error === null) return;
    const { timers } = this.#env;
    timers.after(LINGER_MS, () => this.#checkpoint(() => this.#stop(error)));
    timers.after(LINGER_MS + CHECKPOINT_MS, () => this.#stop(error));
  }

  /** Another member refuses this node. */
  isToldBy(member: string, detail: string): void {
    const error = this.#learn(`${member} says: ${detail}`);
    // In a turn of its own: it is told from within the work of a link.
    if (error !== null) this.#env.timers.soon(() => this.#stop(error));
  }

  /** Null when it is known already. */
  #learn(how: string): HarmonyError | null {
    if (this.#isKnown) return null;
    this.#isKnown = true;
    this.#env.log("warn", "node", "this member was removed from the cluster: it stops", { how });
    return new HarmonyError("MEMBER_REMOVED", how);
  }
}

/** Refuses to run on a directory whose member was removed. */
export function assertBelongs(roster: Roster, dataDir: string): void {
  if (!roster.isSelfRemoved) return;
  throw new HarmonyError(
    "MEMBER_REMOVED",
    `${dataDir} is of no use any more: to come back, add this node as a new member and start it with a new directory`,
  );
}
