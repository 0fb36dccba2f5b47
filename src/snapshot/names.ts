/**
 * Where snapshots lie in a data directory: `snap/<group>/<term>-<index>.snap`, numbers of 16 hexadecimal digits, so that
 * a listing has them in order. Under `tmp/` while they are made or arrive.
 */
import { assert } from "../base/index.ts";
import type { GroupId, LogIndex, Term } from "../raft/index.ts";

/** What the name of a snapshot says. */
export interface SnapshotName {
  readonly group: GroupId;
  readonly term: Term;
  readonly index: LogIndex;
}

const NAME = /^([0-9a-f]{16})-([0-9a-f]{16})\.snap$/;
/** A snapshot that was being made or received, and a data file that was being made of one. */
const LEFTOVER = /^(snapshot-.*|[0-9]+\.hdb(\.new)?)$/;

function hex16(value: number): string {
  return value.toString(16).padStart(16, "0");
}

/** Below `snap/`: what a record in the log says. */
export function snapshotFileName({ group, term, index }: SnapshotName): string {
  return `${group}/${hex16(term)}-${hex16(index)}.snap`;
}

/** Below `tmp/`. */
export function temporaryName({ group, term, index }: SnapshotName): string {
  return `snapshot-${group}-${hex16(term)}-${hex16(index)}`;
}

/** Null for the name of anything else. */
export function parseSnapshotName(group: GroupId, name: string): SnapshotName | null {
  const [, term, index] = NAME.exec(name) ?? [];
  if (term === undefined || index === undefined) return null;
  const parsed = { group, term: Number.parseInt(term, 16), index: Number.parseInt(index, 16) };
  const isSafe = Number.isSafeInteger(parsed.term) && Number.isSafeInteger(parsed.index);
  assert(!isSafe || snapshotFileName(parsed).endsWith(name), "a name is read as it is written");
  return isSafe ? parsed : null;
}

export function isLeftover(name: string): boolean {
  return LEFTOVER.test(name);
}
