/** What a planted bug is. */
export type MutantLayer =
  | "env"
  | "codec"
  | "raft"
  | "wal"
  | "btree"
  | "mvcc"
  | "snapshot"
  | "replica"
  | "db";

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
