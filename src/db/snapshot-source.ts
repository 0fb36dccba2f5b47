/**
 * Snapshots of this node for members that are too far behind: the last one that was made, if the log here goes on from it
 * and the member is part of it, else a new one. That is made at a rate, and without one for a member that was given a
 * snapshot a moment ago and lacks another: while it took that, the log has gone on beyond its end.
 */
import { HarmonyError } from "../base/index.ts";
import { type Env, runIo } from "../env/index.ts";
import { type ConfState, isMemberOf, type NodeId, type SnapshotMeta } from "../raft/index.ts";
import type { OpenSnapshot, Replica, SnapshotSource } from "../replica/index.ts";
import type { SnapshotStore } from "../snapshot/index.ts";
import type { SnapshotRecord, Wal } from "../wal/index.ts";
import type { Outcome } from "./requests.ts";
import {
  type LaterRefusal,
  type SnapshotDone,
  SnapshotReader,
  type Snapshots,
} from "./snapshots.ts";

/** Who asks again within this time has not come to follow. */
const AGAIN_MS: number = 15 * 60_000;

type Want = Parameters<SnapshotSource["open"]>[0];
type Opened = Parameters<SnapshotSource["open"]>[1];

/** A snapshot for a member, as long as what is here may be trusted. */
interface Trusted {
  readonly record: SnapshotRecord;
  readonly member: NodeId;
  readonly refusal: LaterRefusal;
}

interface LocalSnapshotsConfig {
  readonly env: Env;
  readonly snapshots: Snapshots;
  readonly store: SnapshotStore;
  readonly replica: Replica<Outcome>;
  readonly wal: Wal;
}

export class LocalSnapshots implements SnapshotSource {
  readonly #config: LocalSnapshotsConfig;
  /** Files that somebody found to be damaged. */
  readonly #distrusted = new Set<string>();
  /** When a member had all bytes of a snapshot. */
  readonly #givenMs: Map<NodeId, number> = new Map();

  constructor(config: LocalSnapshotsConfig) {
    this.#config = config;
  }

  /** What Raft announces to a member: the state that a pull of it can be given, at least. */
  announce(confState: ConfState): SnapshotMeta {
    const { snapshots, replica } = this.#config;
    const { latest } = snapshots;
    const isOfNow = latest !== null && sameMembers(latest.meta.confState, confState);
    if (isOfNow && this.#isUseful(latest)) return latest.meta;
    const { appliedIndex, appliedTerm } = replica.machine;
    return { index: appliedIndex, term: appliedTerm, confState };
  }

  open(want: Want, done: Opened): void {
    const { replica, snapshots } = this.#config;
    const { member, indexAtLeast } = want;
    if (want.group !== replica.group) {
      done(new HarmonyError("INVALID_ARGUMENT", `there is no group ${want.group}`), null);
      return;
    }
    // Looked at again with each piece: a pull that began before a quarantine is not gone on with.
    const refusal = snapshots.laterRefusal();
    const refused = refusal();
    if (refused !== null) {
      done(refused, null);
      return;
    }
    const { latest } = snapshots;
    const isEnough =
      latest !== null && latest.meta.index >= indexAtLeast && this.#isFor(latest, member);
    if (isEnough && this.#isUseful(latest)) {
      this.#read({ record: latest, member, refusal }, done, () => this.#make(want, refusal, done));
    } else this.#make(want, refusal, done);
  }

  #make({ member, indexAtLeast }: Want, refusal: LaterRefusal, done: Opened): void {
    const { env, snapshots, replica } = this.#config;
    if (replica.machine.appliedIndex < indexAtLeast) {
      const { appliedIndex } = replica.machine;
      done(new HarmonyError("PEER_FAILED", `only entry ${appliedIndex} is applied here`), null);
      return;
    }
    const givenMs = this.#givenMs.get(member) ?? Number.NEGATIVE_INFINITY;
    const isAgain = env.clock.monotonicMs() - givenMs < AGAIN_MS;
    const made: SnapshotDone = (error, snapshot) => {
      if (snapshot === null) {
        done(error, null);
      } else if (!this.#isFor(snapshot.record, member)) {
        done(new HarmonyError("INVALID_ARGUMENT", "its snapshot does not hold this member"), null);
      } else {
        const { record } = snapshot;
        this.#distrusted.delete(record.fileName);
        this.#read({ record, member, refusal }, done, (failure) => done(failure, null));
      }
    };
    if (isAgain) snapshots.make(made);
    else snapshots.makePaced(made);
  }

  #read(
    { record, member, refusal }: Trusted,
    done: Opened,
    failed: (error: HarmonyError) => void,
  ): void {
    const { env, store } = this.#config;
    runIo(SnapshotReader.open(env, store, { made: { record }, refusal }), (error, reader) => {
      if (reader === undefined) {
        failed(new HarmonyError("IO", `${record.fileName} cannot be read`, { cause: error }));
        return;
      }
      const { meta, sizeBytes, sha256, fileName } = record;
      const opened: OpenSnapshot = {
        meta,
        sizeBytes,
        sha256,
        skipTo: (offset) => reader.skipTo(offset),
        read: (bytesMax, read) => reader.read(bytesMax, read),
        close: () => {
          if (reader.remaining === 0) this.#givenMs.set(member, env.clock.monotonicMs());
          reader.close();
        },
        distrust: () => this.#distrusted.add(fileName),
      };
      done(null, opened);
    });
  }

  #isFor({ meta }: SnapshotRecord, member: NodeId): boolean {
    return isMemberOf(meta.confState, member);
  }

  /** The log goes on from it, and nobody found it damaged. */
  #isUseful({ meta, fileName }: SnapshotRecord): boolean {
    const { wal, replica } = this.#config;
    const reaches = meta.index + 1 >= wal.groupLog(replica.group).firstIndex();
    return reaches && !this.#distrusted.has(fileName);
  }
}

function sameMembers(one: ConfState, other: ConfState): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
