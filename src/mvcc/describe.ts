/**
 * The whole logical state of a store as lines of text, the same for every store that answers every read alike: how far
 * compaction has come, pages and caches do not show. The simulator and the tests compare these lines with an oracle's,
 * so the line of a version can be made from plain data as well.
 */
import { compareBytes, crc32c, hex } from "../base/index.ts";
import type { Engine, Version } from "../btree/index.ts";
import { RecordView } from "./record.ts";
import { SESSION_IDLE_MS } from "./sessions.ts";
import type { Store } from "./store.ts";
import { historyRevision, HistoryKeys, historySub, readLeaseId } from "./tree-keys.ts";
import { Trees } from "./trees.ts";

const VALUE_SHOWN_MAX = 64;

/** One version of a key, or its deletion. */
export type VersionDescription =
  | {
      readonly key: Uint8Array;
      readonly revision: number;
      readonly sub: number;
      readonly isDelete: true;
    }
  | {
      readonly key: Uint8Array;
      readonly revision: number;
      readonly sub: number;
      readonly isDelete: false;
      readonly createRevision: number;
      readonly version: number;
      readonly lease: bigint;
      /** 0 or undefined: none. */
      readonly deadlineMs?: number;
      readonly isLock?: boolean;
      readonly value: Uint8Array;
    };

/** Printable ASCII as it is; other bytes as \xNN, so that different bytes never look alike. */
export function printable(bytes: Uint8Array): string {
  let out = "";
  for (const byte of bytes) {
    const isPlain = byte > 0x20 && byte < 0x7f && byte !== 0x5c;
    out += isPlain ? String.fromCharCode(byte) : `\\x${hex(Uint8Array.of(byte))}`;
  }
  return out;
}

/** Long values by length and checksum, so that a line stays a line. */
function describeValue(value: Uint8Array): string {
  return value.length <= VALUE_SHOWN_MAX
    ? `"${printable(value)}"`
    : `${value.length} bytes, crc32c ${crc32c(value)}`;
}

export function describeVersion(version: VersionDescription): string {
  const place = `${printable(version.key)} @${version.revision}.${version.sub}`;
  if (version.isDelete) return `${place} deleted`;
  const lease = version.lease === 0n ? "" : ` lease=${version.lease}`;
  const { deadlineMs = 0, isLock = false } = version;
  const deadline = deadlineMs === 0 ? "" : ` until=${deadlineMs}`;
  return `${place} create=${version.createRevision} version=${version.version}${lease}${deadline}${isLock ? " lock" : ""} ${describeValue(version.value)}`;
}

export interface LeaseDescription {
  readonly id: bigint;
  readonly ttlSeconds: number;
  readonly endMs: number;
  readonly keys: readonly Uint8Array[];
}

export function describeLease(lease: LeaseDescription): string {
  const keys = lease.keys.map((key) => ` ${printable(key)}`).join("");
  return `lease ${lease.id} ttl ${lease.ttlSeconds} ends ${lease.endMs}${keys === "" ? "" : ` keys${keys}`}`;
}

/** A session with the numbers of the requests whose results it keeps. */
export function describeSession(
  session: number,
  endMs: number,
  highest: number,
  numbers: readonly number[],
): string {
  return `session ${session} ends ${endMs} highest ${highest} keeps ${numbers.join(" ")}`;
}

/** The order of leases: the one that ends first before the others, then by id. */
export function byEnd(
  a: Pick<LeaseDescription, "id" | "endMs">,
  b: Pick<LeaseDescription, "id" | "endMs">,
): number {
  return a.endMs - b.endMs || (a.id < b.id ? -1 : 1);
}

/**
 * The state of `store` on `engine`: revisions, then every version that a readable revision can show or an event from
 * the compact revision on names, in order of key and revision, then the leases in the order of their ends, then the
 * sessions in the order of their ids, then the alarms.
 */
export function describeStore(engine: Engine, store: Store): string[] {
  const lines = [
    `revision ${store.revision} compacted ${store.compactRevision} clock ${store.clockMs}`,
  ];
  const pinned = engine.pin();
  try {
    describeVersions(pinned, store.compactRevision, lines);
  } finally {
    pinned.release();
  }
  const leases: LeaseDescription[] = [];
  store.leases.forEach((id, lease) => {
    const keys: Uint8Array[] = [];
    store.leases.forEachKey(id, (key) => keys.push(key.slice()));
    leases.push({
      id: readLeaseId(id),
      ttlSeconds: lease.ttlSeconds,
      endMs: store.leaseEndMs(lease),
      keys,
    });
  });
  leases.sort(byEnd);
  lines.push(...leases.map(describeLease));
  store.sessions.forEach((session, { usedMs, highest }, numbers) =>
    lines.push(describeSession(session, usedMs + SESSION_IDLE_MS, highest, numbers)),
  );
  for (const { kind, memberId } of store.alarms.list) lines.push(`alarm ${kind} of ${memberId}`);
  return lines;
}

function describeVersions(pinned: Version, compactRevision: number, lines: string[]): void {
  const versions: {
    readonly place: Uint8Array;
    readonly line: string;
    readonly revision: number;
    readonly isDelete: boolean;
  }[] = [];
  const historyKeys = new HistoryKeys();
  const record = new RecordView();
  const add = (
    place: Uint8Array,
    key: Uint8Array,
    revision: number,
    sub: number,
    bytes: Uint8Array,
  ): void => {
    record.read(bytes);
    const isDelete = record.isTombstone;
    const line = describeVersion(
      isDelete
        ? { key, revision, sub, isDelete }
        : {
            key,
            revision,
            sub,
            isDelete,
            createRevision: record.createRevision,
            version: record.version,
            lease: record.lease === null ? 0n : readLeaseId(record.lease),
            deadlineMs: record.deadlineMs,
            isLock: record.isLock,
            value: record.value,
          },
    );
    versions.push({ place: place.slice(), line, revision, isDelete });
  };
  const history = pinned.tree(Trees.history).cursor();
  for (let isThere = history.first(); isThere; isThere = history.next()) {
    const place = history.key;
    add(
      place,
      historyKeys.userKey(place),
      historyRevision(place),
      historySub(place),
      history.value,
    );
  }
  const keys = pinned.tree(Trees.keys).cursor();
  for (let isThere = keys.first(); isThere; isThere = keys.next()) {
    const { key } = keys;
    record.read(keys.value);
    const { modRevision, sub } = record;
    add(historyKeys.hold(key).version(modRevision, sub), key, modRevision, sub, keys.value);
  }
  versions.sort((a, b) => compareBytes(a.place, b.place));
  for (let i = 0; i < versions.length; i++) {
    const { place, line, revision, isDelete } = versions[i] as (typeof versions)[number];
    const next = versions[i + 1];
    const isSuperseded =
      next !== undefined &&
      next.revision <= compactRevision &&
      historyKeys.holdKeyOf(place).isVersion(next.place);
    if (revision >= compactRevision || !(isDelete || isSuperseded)) lines.push(line);
  }
}
