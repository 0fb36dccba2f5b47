/**
 * What becomes of a node that was removed from its cluster (fault-rules N9, R12): the others refuse it by name, and it
 * stops and says so. Its directory stays as it is and opens no more: its id never comes back.
 *
 * That its removal stands in its own log is not enough. The others may have forgotten that it is committed, if they lost
 * their power before they had written that down, and would need its vote once more to find it out. So it goes on, without
 * a voice of its own, until one of them refuses it, which they do only when their state without it is durable.
 */
import { HarmonyError } from "../base/index.ts";
import { type Env, runIo } from "../env/index.ts";
import type { MembersFile } from "./members-file.ts";

/** So that the answer to who asked for it has left before the node goes. */
const LINGER_MS = 500;

export class Removal {
  readonly #env: Env;
  readonly #file: MembersFile;
  readonly #stop: (error: HarmonyError) => void;
  #isApplied = false;
  #isTold = false;

  constructor(env: Env, file: MembersFile, stop: (error: HarmonyError) => void) {
    this.#env = env;
    this.#file = file;
    this.#stop = stop;
  }

  /** The entry that removes this node is applied here. */
  isApplied(): void {
    if (this.#isApplied) return;
    this.#isApplied = true;
    this.#env.log("warn", "node", "this member was removed from the cluster: it stops soon");
  }

  /** Another member refuses this node. */
  isToldBy(member: string, detail: string): void {
    if (this.#isTold) return;
    this.#isTold = true;
    const how = `${member} says: ${detail}`;
    this.#env.log("warn", "node", "this member was removed from the cluster: it stops", { how });
    this.#env.timers.after(LINGER_MS, () =>
      // Where that cannot be written, it is told again after the next start.
      runIo(this.#file.markRemoved(how), () => this.#stop(new HarmonyError("MEMBER_REMOVED", how))),
    );
  }
}

/** Refuses to run on a directory whose member was removed. */
export function assertBelongs({ removal }: MembersFile, dataDir: string): void {
  if (removal === null) return;
  throw new HarmonyError(
    "MEMBER_REMOVED",
    `${removal}; ${dataDir} is of no use any more: to come back, add this node as a new member and start it with a new directory`,
  );
}
