/** What the disk of a member holds durably at a moment: what a process would find that starts after a power loss now. */
import { readU64, writeU64 } from "../src/base/index.ts";
import { BTreeEngine } from "../src/btree/index.ts";
import type { Node } from "../src/db/index.ts";
import type { Io } from "../src/env/index.ts";
import { runIoNow, type SimEnv } from "../src/env/sim/index.ts";
import { isMemberOf, type LogIndex, type NodeId, type Term } from "../src/raft/index.ts";
import { decideVote, VoteFile, Wal, type WalIdentity } from "../src/wal/index.ts";
import type { Promised } from "./members-wire.ts";
import { check } from "./violation.ts";

export const DATA_DIRECTORY = "data";
const GROUP = 0;

export interface DurableState {
  readonly term: Term;
  readonly vote: NodeId;
  readonly lastIndex: LogIndex;
  /** Up to here the data file, or a snapshot that was taken over, holds everything. */
  readonly appliedIndex: LogIndex;
  /** Null: not in the log. */
  termAt(index: LogIndex): Term | null;
  /** Whether it takes part, as what was applied last says of what is durable. */
  isMember(id: NodeId): boolean;
}

export function durableStateOf(
  machine: SimEnv,
  identity: Node["identity"],
  segmentSizeBytes: number,
): DurableState {
  const fork = machine.fork();
  fork.losePower("lose-all");
  // To look costs no room.
  fork.disk.quotaBytes = Number.POSITIVE_INFINITY;
  const env = fork.boot();
  const clusterId = new Uint8Array(8);
  writeU64(clusterId, 0, identity.clusterId);
  const { memberId, walId } = identity;
  const walIdentity: WalIdentity = { clusterId, memberId, walId };
  const options = { directory: DATA_DIRECTORY, segmentSizeBytes };
  return runIoNow(
    fork,
    (function* (): Io<DurableState> {
      const votes = yield* VoteFile.open(env, options, walIdentity);
      const path = `${DATA_DIRECTORY}/db/${GROUP}.hdb`;
      const data = yield* BTreeEngine.open(env.files, path, { fileId: walId, create: "no" });
      const { newest, older } = data.engine.checkpoints;
      const start = {
        group: GROUP,
        appliedIndex: newest?.appliedIndex ?? 0,
        appliedTerm: newest?.appliedTerm ?? 0,
        olderAppliedIndex: older?.appliedIndex ?? 0,
      };
      const { wal } = yield* Wal.open(env, options, walIdentity, [start]);
      const log = wal.groupLog(GROUP);
      const installed = wal.snapshot(GROUP);
      const decided = decideVote(wal.hardState(GROUP), votes.read(GROUP), false);
      check(decided !== "corrupt", "VOTE and log do not contradict each other", () => "they do");
      return {
        term: decided.term,
        vote: decided.vote,
        lastIndex: log.lastIndex(),
        appliedIndex: Math.max(
          start.appliedIndex,
          installed?.installed === true ? installed.meta.index : 0,
        ),
        termAt: (index): Term | null => {
          if (index < log.firstIndex() - 1 || index > log.lastIndex()) return null;
          const term = log.term(index);
          return typeof term === "number" ? term : null;
        },
        isMember: (id): boolean => {
          if (installed?.installed === true && installed.meta.index > start.appliedIndex)
            return isMemberOf(installed.meta.confState, id);
          // Without a checkpoint nobody has gone yet.
          return newest === null || membersIn(newest.payload).has(id);
        },
      };
    })(),
  );
}

/** Voters and learners as a checkpoint names them: the head of its payload (src/db/checkpoint-payload.ts). */
function membersIn(payload: Uint8Array): ReadonlySet<NodeId> {
  const isPlain = payload[0] === 1;
  let at = isPlain ? 9 : 10;
  const ids = new Set<NodeId>();
  for (let lists = isPlain ? 1 : 4; lists > 0; lists--) {
    const end = at + 1 + 8 * (payload[at] ?? 0);
    for (at++; at < end; at += 8) ids.add(readU64(payload, at));
  }
  return ids;
}

/** Whether a disk holds all that its member has promised to others. */
export function judgePromise(name: string, disk: DurableState, promised: Promised): void {
  const { term, vote, index, entryTerm, inTerm } = promised;
  check(
    disk.term > term || (disk.term === term && (vote === 0 || disk.vote === vote)),
    "term and vote are durable before others hear of them",
    () => `${name}: ${disk.term}/${disk.vote} on disk, ${term}/${vote} promised`,
  );
  // A later leader may have replaced it.
  if (disk.term > inTerm) return;
  check(
    index <= disk.appliedIndex || disk.termAt(index) === entryTerm,
    "entries are durable before others hear of them",
    () =>
      `${name}: ${index}/${entryTerm} was promised, the disk has ${disk.termAt(index)} there and ends at ${disk.lastIndex}`,
  );
}
