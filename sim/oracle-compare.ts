/** Whether an opened database is what a model of it says, asked through its doors alone. */
import {
  type LeaseStatus,
  type RangeRequest,
  type RangeResponse,
  type Refusal,
  type WatchEvent,
  POINT,
} from "../src/db/index.ts";
import type { KvModel } from "./model.ts";
import { difference } from "./violation.ts";

/** Everything that can be asked of a database that has just been opened. */
export interface Observed {
  readonly revision: number;
  readonly compactRevision: number;
  range(request: RangeRequest): RangeResponse | Refusal;
  leases(): readonly bigint[];
  leaseStatus(id: bigint): LeaseStatus;
  /** What a watch of everything tells from this revision on, or from `first` on where that is compacted. */
  eventsFrom(revision: number): { readonly first: number; readonly events: readonly WatchEvent[] };
}

const ZERO = new Uint8Array(1);
export const EVERYTHING: RangeRequest = { ...POINT, key: ZERO, rangeEnd: ZERO };

/** Of a history that is known for sure so many revisions are read. */
const READ_REVISIONS_MAX = 3;
/** Of one that is a guess between several; more are made only where revisions were left out. */
const GUESSED_REVISIONS_MAX = 2000;

/** Where the history of the database differs from `model`, or null. `sample`: not all of it is read, but another part each time. */
export function historyMismatch(
  model: KvModel,
  observed: Observed,
  sample: number | null,
): string | null {
  const latest = difference(observed.range(EVERYTHING), model.range(EVERYTHING));
  if (latest !== null) return `at the newest revision ${model.revision}: ${latest}`;
  for (const revision of revisionsToRead(model, sample)) {
    const request = { ...EVERYTHING, revision };
    const found = difference(observed.range(request), model.range(request));
    if (found !== null) return `at revision ${revision}: ${found}`;
  }
  return null;
}

/** `lateMs`: how long ago the promised life of a lease ended, negative while it lasts. */
export function leaseMismatch(
  model: KvModel,
  observed: Observed,
  lateMs: (livesUntilMs: number) => number,
): string | null {
  const held = new Set(observed.leases());
  for (const [id, lease] of model.leases) {
    const status = observed.leaseStatus(id);
    if (!held.delete(id)) {
      const late = lateMs(lease.livesUntilMs);
      return `lease ${id} is gone${late >= 0 ? "" : ` ${-late} ms too early`}`;
    }
    if (status.grantedTtlSeconds !== BigInt(lease.ttlSeconds))
      return `lease ${id} has a TTL of ${status.grantedTtlSeconds}, not ${lease.ttlSeconds}`;
    const keys = difference(status.keys, model.keyBytesOf(id));
    if (keys !== null) return `keys of lease ${id}${keys}`;
  }
  for (const id of held) return `lease ${id} was not granted, or has ended`;
  return null;
}

/** The ends of the history, one beyond each, and what lies between: all of it, or some places that `sample` chooses. */
function* revisionsToRead(
  { compactRevision, revision, keepsHistory }: KvModel,
  sample: number | null,
): Generator<number, void, void> {
  yield revision + 1;
  if (!keepsHistory) {
    yield revision - 1;
    return;
  }
  const first = Math.max(1, compactRevision - 1);
  if (compactRevision > 0) yield compactRevision;
  yield first;
  const count = revision - first;
  const countMax = sample === null ? GUESSED_REVISIONS_MAX : READ_REVISIONS_MAX;
  const step = Math.max(1, Math.ceil(count / countMax));
  for (let at = first + 1 + ((sample ?? 0) % step); at < revision; at += step) yield at;
}
