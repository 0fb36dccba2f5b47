/**
 * Planted bugs. Each is a change of a line or two of the emitted JavaScript, made to a copy; shipped code has no
 * switch for them. The simulator must find every one with its general checks, default profiles and random seeds. One
 * that it does not find is a hole in the simulator.
 */
export type MutantLayer = "env" | "raft" | "wal" | "btree" | "mvcc" | "replica" | "db";

export interface Mutant {
  readonly name: string;
  readonly layer: MutantLayer;
  /** Below dist/src/. */
  readonly file: string;
  /** Stands there exactly once. */
  readonly find: string;
  readonly replace: string;
  /** What it breaks. */
  readonly why: string;
}

export const MUTANTS: readonly Mutant[] = [
  // ---- env: what every file operation relies on
  {
    name: "short-write-counts-as-whole",
    layer: "env",
    file: "env/io.js",
    find: "if (written >= bytes.length)",
    replace: "if (written > 0)",
    why: "a write that took a part of the bytes is reported as done (D12)",
  },
  {
    name: "short-write-goes-on-at-the-start",
    layer: "env",
    file: "env/io.js",
    find: "writeFully(file, offset + written,",
    replace: "writeFully(file, offset,",
    why: "the rest of a short write lands on its beginning (D12)",
  },
  {
    name: "failed-write-is-swallowed",
    layer: "env",
    file: "env/io.js",
    find: "done(error, undefined);",
    replace: "done(null, undefined);",
    why: "whoever asked for a write does not hear that it failed (D9)",
  },
  {
    name: "failed-step-goes-on",
    layer: "env",
    file: "env/io.js",
    find: "step = completion.error === null ? io.next(completion.value) : io.throw(completion.error);",
    replace: "step = io.next(completion.value);",
    why: "a sequence of operations goes on after one of them failed (D9)",
  },
  // ---- raft
  {
    name: "leader-counts-what-is-not-durable",
    layer: "raft",
    file: "raft/raft.js",
    find: "if (own !== undefined && own.acknowledged(this.log.stableIndex))",
    replace: "if (own !== undefined && own.acknowledged(this.log.lastIndex))",
    why: "a leader acknowledges its own entries before they are synced (R5)",
  },
  {
    name: "old-terms-are-committed-by-counting",
    layer: "raft",
    file: "raft/raft.js",
    find: "if (index <= this.log.commit || !this.log.holds(index, this.#term))",
    replace: "if (index <= this.log.commit)",
    why: "figure 8 of the paper (R2)",
  },
  {
    name: "votes-for-a-shorter-log",
    layer: "raft",
    file: "raft/raft.js",
    find: "const granted = free && this.log.isUpToDate(message.lastIndex, message.lastTerm);",
    replace: "const granted = free;",
    why: "a leader may lack committed entries (section 5.4.1)",
  },
  {
    name: "votes-twice-in-a-term",
    layer: "raft",
    file: "raft/raft.js",
    find: "(this.#vote === 0 && this.#leader === 0) ||",
    replace: "this.#leader === 0 ||",
    why: "two leaders of one term (R4)",
  },
  {
    name: "heartbeat-commits-what-was-not-acknowledged",
    layer: "raft",
    file: "raft/raft.js",
    find: "const commit = Math.min(progress.match, this.log.commit);",
    replace: "const commit = this.log.commit;",
    why: "a follower commits entries that are not the leader's (section 5.3)",
  },
  {
    name: "reads-before-the-own-term-commits",
    layer: "raft",
    file: "raft/raft.js",
    find: "if (this.#readOnly.hasWaiting && this.leadsForSure())\n            this.#beginReads();",
    replace: "if (this.#readOnly.hasWaiting)\n            this.#beginReads();",
    why: "a new leader does not know yet what is committed (R2)",
  },
  // ---- wal
  {
    name: "segments-are-written-without-sync",
    layer: "wal",
    file: "wal/segment-supply.js",
    find: "durableWrites: true",
    replace: "durableWrites: false",
    why: "acknowledged before it is durable (D2)",
  },
  {
    name: "roll-without-directory-sync",
    layer: "wal",
    file: "wal/wal.js",
    find: "yield* renameFile(files, `${directory}/tmp/${NEXT_SEGMENT}`, path);\n        yield* syncDirectory(files, `${directory}/wal`);",
    replace: "yield* renameFile(files, `${directory}/tmp/${NEXT_SEGMENT}`, path);",
    why: "a new segment loses its name with the power (D30)",
  },
  {
    name: "damage-below-the-proof-is-cut",
    layer: "wal",
    file: "wal/recovery.js",
    find: "if (durableLsn <= endLsn) {",
    replace: "if (offset > 0) {",
    why: "acknowledged entries are taken for a torn tail (D4)",
  },
  {
    name: "segment-header-without-hard-states",
    layer: "wal",
    file: "wal/wal.js",
    find: "const groups = this.#groups.rows();\n        const headerBytes",
    replace: "const groups = [];\n        const headerBytes",
    why: "an idle group's vote goes with the old segments (D25)",
  },
  {
    name: "recovered-segment-without-directory-sync",
    layer: "wal",
    file: "wal/recovery.js",
    find: "yield* renameFile(this.files, temporary, path);\n        yield* syncDirectory(this.files, this.directory);",
    replace: "yield* renameFile(this.files, temporary, path);",
    why: "what is acknowledged after a recovery stands in a segment that loses its name (D10, D30)",
  },
  {
    name: "acknowledged-in-spite-of-the-error",
    layer: "wal",
    file: "wal/wal.js",
    find: "if (error !== null) {\n            this.#fail(error);\n            return;\n        }\n        const frame",
    replace: "const frame",
    why: "the write failed and nobody is told (D9)",
  },
  {
    name: "tail-is-copied-without-sync",
    layer: "wal",
    file: "wal/recovery.js",
    find: "durableWrites: true",
    replace: "durableWrites: false",
    why: "what a killed process left is relied on before it is durable (D10)",
  },
  {
    name: "vote-slots-do-not-alternate",
    layer: "wal",
    file: "wal/vote-file.js",
    find: "place.next = 1 - place.next;",
    replace: "place.next = place.generation > 2 ? place.next : 1 - place.next;",
    why: "a torn write takes the only vote with it",
  },
  {
    name: "released-past-the-older-checkpoint",
    layer: "wal",
    file: "wal/wal.js",
    find: "if (highest > this.#groups.of(group).checkpoint.olderAppliedIndex)",
    replace: "if (highest > this.#groups.of(group).checkpoint.appliedIndex)",
    why: "when the newest checkpoint is damaged the log does not reach back to the other",
  },
  // ---- btree
  {
    name: "meta-before-its-pages",
    layer: "btree",
    file: "btree/btree-engine.js",
    find: "yield* writePages(file, this.#pager, captured.dirty);\n            yield* syncFile(file);",
    replace: "yield* writePages(file, this.#pager, captured.dirty);",
    why: "a meta page may be durable before what it points to (D19)",
  },
  {
    name: "both-metas-in-one-place",
    layer: "btree",
    file: "btree/btree-engine.js",
    find: "yield* writeFile(file, (meta.number % 2) * PAGE_SIZE, encodeMeta(meta));",
    replace: "yield* writeFile(file, 0, encodeMeta(meta));",
    why: "the only good checkpoint is written over (D18)",
  },
  {
    name: "checkpoint-done-before-its-meta-is-durable",
    layer: "btree",
    file: "btree/btree-engine.js",
    find: "encodeMeta(meta));\n            yield* syncFile(file);",
    replace: "encodeMeta(meta));",
    why: "the log is released behind a checkpoint that is not there (D19)",
  },
  {
    name: "pages-of-the-durable-checkpoint-change-in-place",
    layer: "btree",
    file: "btree/freelist.js",
    find: "if (youngest !== undefined && birth <= youngest.epoch) {",
    replace: "if (youngest !== undefined && birth < youngest.epoch - 1) {",
    why: "a page is given out again while a checkpoint still reaches it",
  },
  // ---- mvcc
  {
    name: "compact-revision-is-unreadable",
    layer: "mvcc",
    file: "mvcc/store.js",
    find: 'return revision < this.compactRevision ? "COMPACTED" : null;',
    replace: 'return revision <= this.compactRevision ? "COMPACTED" : null;',
    why: "the compact revision itself stays readable in etcd",
  },
  {
    name: "put-renews-the-create-revision",
    layer: "mvcc",
    file: "mvcc/store.js",
    find: "createRevision: old === null ? revision : old.createRevision,",
    replace: "createRevision: revision,",
    why: "create_revision is that of the first put",
  },
  {
    name: "nothing-changed-and-yet-a-revision",
    layer: "mvcc",
    file: "mvcc/store.js",
    find: "if (this.#sub > 0)\n            this.#revision++;",
    replace: "this.#revision++;",
    why: "a delete of nothing makes no revision",
  },
  {
    name: "compaction-takes-one-version-too-many",
    layer: "mvcc",
    file: "mvcc/compaction.js",
    find: "if (revision > compactRevision) {",
    replace: "if (revision > compactRevision + 1) {",
    why: "what stood at the compact revision must stay",
  },
  {
    name: "delete-leaves-the-key-with-its-lease",
    layer: "mvcc",
    file: "mvcc/store.js",
    find: "this.#moveToLease(key, old, null);",
    replace: "",
    why: "a lease ends with a key that it does not hold any more",
  },
  {
    name: "compact-revision-lost-at-restart",
    layer: "mvcc",
    file: "mvcc/store.js",
    find: "this.#compactRevision = reader.varint() + NEVER_COMPACTED;",
    replace: "reader.varint();",
    why: "a checkpoint carries the compact revision",
  },
  // ---- replica
  {
    name: "proposed-and-called-certainly-not-applied",
    layer: "replica",
    file: "replica/replica.js",
    find: "const unknown = withDoubt(error, true);",
    replace: "const unknown = withDoubt(error, false);",
    why: "what may survive in the log is reported as certainly not applied",
  },
  {
    name: "replayed-stamps-are-not-observed",
    layer: "replica",
    file: "replica/replica.js",
    find: "this.clock.observe(batch.clockMs);",
    replace: "",
    why: "after a restart the group's clock goes back to that of the checkpoint",
  },
  {
    name: "answers-of-the-first-command-for-all",
    layer: "replica",
    file: "replica/replica.js",
    find: "this.#settle(proposals[i], null, results[i]);",
    replace: "this.#settle(proposals[i], null, results[0]);",
    why: "each command of a batch has a result of its own",
  },
  {
    name: "refused-for-space-and-proposed-all-the-same",
    layer: "replica",
    file: "replica/replica.js",
    find: "refused.push(proposal);\n                    continue;",
    replace: "refused.push(proposal);",
    why: "what certainly did not happen happens",
  },
  {
    name: "withdrawn-and-proposed-all-the-same",
    layer: "replica",
    file: "replica/replica.js",
    find: "if (proposal.reply === null) {\n                    this.#waitingBytes -= size;\n                    continue;\n                }",
    replace: "",
    why: "a call that timed out before it was proposed happens after all",
  },
  // ---- db
  {
    name: "checkpoint-forgets-its-last-entry",
    layer: "db",
    file: "db/chores.js",
    find: "appliedIndex: machine.appliedIndex,",
    replace: "appliedIndex: Math.max(1, machine.appliedIndex - 1),",
    why: "applied index and data are one unit: an entry is applied twice (D20)",
  },
  {
    name: "checkpoint-payload-of-the-last-one",
    layer: "db",
    file: "db/chores.js",
    find: "machine: machine.payload()",
    replace:
      "machine: (this.lastPayload = this.nextPayload ?? machine.payload(), this.nextPayload = machine.payload(), this.lastPayload)",
    why: "the revision of a checkpoint lags behind its trees (D20)",
  },
  {
    name: "version-file-without-directory-sync",
    layer: "db",
    file: "db/data-directory.js",
    find: "yield* renameFile(files, temporary, `${directory}/VERSION`);\n    yield* syncDirectory(files, directory);",
    replace: "yield* renameFile(files, temporary, `${directory}/VERSION`);",
    why: "the directory forgets what it is (D30)",
  },
  {
    name: "one-compare-is-enough",
    layer: "db",
    file: "db/txn.js",
    find: "const succeeded = request.compare.every(",
    replace: "const succeeded = request.compare.length === 0 || request.compare.some(",
    why: "all compares of a transaction must hold",
  },
  {
    name: "more-although-that-was-all",
    layer: "db",
    file: "db/range.js",
    find: "more: answer.passed > limit",
    replace: "more: answer.passed >= limit",
    why: "`more` says that the limit cut something",
  },
  {
    name: "log-is-not-closed",
    layer: "db",
    file: "db/node.js",
    find: "() => wal.close(),",
    replace: "function* () {},",
    why: "a clean stop proves what was acknowledged, and holds no file",
  },
];
