/**
 * Client sessions: what makes a request that is sent twice happen once (architecture section 7, "Exactly once").
 *
 * A session remembers the results of its last requests by their numbers. A number that it remembers is answered from
 * memory; one that is new and not below the window is executed; everything else is refused, since nobody can know any
 * more whether it has happened. Numbers may come out of order within the window.
 *
 *     session   u8 format | varint usedMs | varint deadlineMs | varint highest number
 *     result    u8 format | u32 fingerprint of the request | what the caller keeps
 *
 * A session ends when it was not used for SESSION_IDLE_MS of the group's clock, by an applied expiry alone. Its row
 * among the deadlines is not moved with each use but when it is found due: one write less for each request.
 *
 * Invariants: at most SESSIONS_MAX sessions; each has the deadline that its record says, no later than its end; a
 * session keeps results for numbers in (highest - SESSION_WINDOW, highest] alone.
 */
import {
  assert,
  ByteReader,
  ByteWriter,
  EMPTY_BYTES,
  readU32,
  writeU64BigEndian,
} from "../base/index.ts";
import type { Cursor, Engine, Tree } from "../btree/index.ts";
import type { Deadlines } from "./deadlines.ts";
import { Effect, type StateHash } from "./state-hash.ts";
import {
  DeadlineKind,
  isSessionKey,
  resultNumber,
  SessionKeys,
  sessionOf,
  SESSIONS_END,
} from "./tree-keys.ts";
import { Trees } from "./trees.ts";

const FORMAT = 1;
const RESULT_HEAD_BYTES = 5;

export const SESSIONS_MAX = 10_000;
export const SESSION_IDLE_MS: number = 15 * 60_000;
/** So many of the last results are kept. */
export const SESSION_WINDOW = 64;

export interface SessionRecord {
  readonly usedMs: number;
  /** Where its row stands among the deadlines. */
  readonly deadlineMs: number;
  readonly highest: number;
}

export class Sessions {
  readonly #tree: Tree;
  readonly #cursor: Cursor;
  readonly #deadlines: Deadlines;
  readonly #hash: StateHash;
  readonly #keys = new SessionKeys();
  readonly #reader = new ByteReader();
  readonly #writer = new ByteWriter(64);
  readonly #id = new Uint8Array(8);

  constructor(engine: Engine, deadlines: Deadlines, hash: StateHash) {
    this.#tree = engine.tree(Trees.sessions);
    this.#cursor = this.#tree.cursor();
    this.#deadlines = deadlines;
    this.#hash = hash;
  }

  get count(): number {
    return this.#tree.countRange(EMPTY_BYTES, SESSIONS_END);
  }

  get(session: number): SessionRecord | undefined {
    const bytes = this.#tree.get(this.#keys.ofSession(session));
    if (bytes === undefined) return undefined;
    const reader = this.#reader;
    reader.reset(bytes);
    const format = reader.u8();
    const record: SessionRecord = {
      usedMs: reader.varint(),
      deadlineMs: reader.varint(),
      highest: reader.varint(),
    };
    assert(format === FORMAT && reader.isAtEnd, "a session of a known format");
    return record;
  }

  /** Makes a session that does not exist. */
  open(session: number, clockMs: number): void {
    assert(this.get(session) === undefined, "a session is opened once");
    assert(this.count < SESSIONS_MAX, "there is room for the session");
    const deadlineMs = clockMs + SESSION_IDLE_MS;
    this.#deadlines.add(deadlineMs, DeadlineKind.session, this.#idOf(session));
    this.#write(session, { usedMs: clockMs, deadlineMs, highest: 0 });
  }

  /** Forgets a session and its results: no more than the window holds. False when it is unknown. */
  close(session: number): boolean {
    const record = this.get(session);
    if (record === undefined) return false;
    this.#dropResults(session, record.highest);
    this.#deadlines.remove(record.deadlineMs, DeadlineKind.session, this.#idOf(session));
    const key = this.#keys.ofSession(session);
    this.#hash.mixBytes(Effect.session, key, EMPTY_BYTES);
    this.#tree.delete(key);
    return true;
  }

  /** What was recorded for the request, as a view; "new": it never happened; "expired": nobody knows. */
  find(session: number, number: number, fingerprint: number): Uint8Array | "new" | "expired" {
    const record = this.get(session);
    if (record === undefined || number <= record.highest - SESSION_WINDOW) return "expired";
    const bytes = this.#tree.get(this.#keys.ofResult(session, number));
    if (bytes === undefined) return "new";
    assert(bytes[0] === FORMAT && bytes.length >= RESULT_HEAD_BYTES, "a result of a known format");
    return readU32(bytes, 1) === fingerprint ? bytes.subarray(RESULT_HEAD_BYTES) : "expired";
  }

  /** The session has been used. */
  touch(session: number, clockMs: number): void {
    const record = this.get(session);
    assert(record !== undefined, "only a session that exists is used");
    if (record.usedMs !== clockMs) this.#write(session, { ...record, usedMs: clockMs });
  }

  /** Keeps the result of a request that `find` called new. What falls out of the window is forgotten. */
  record(
    session: number,
    number: number,
    fingerprint: number,
    result: Uint8Array,
    clockMs: number,
  ): void {
    const record = this.get(session);
    assert(record !== undefined, "only a session that exists has results");
    assert(number > record.highest - SESSION_WINDOW, "a result stands in the window");
    const highest = Math.max(record.highest, number);
    this.#write(session, { ...record, usedMs: clockMs, highest });
    const out = this.#writer;
    out.reset();
    out.u8(FORMAT);
    for (let shift = 0; shift < 32; shift += 8) out.u8((fingerprint >>> shift) & 255);
    out.bytes(result);
    const key = this.#keys.ofResult(session, number);
    this.#hash.mixBytes(Effect.session, key, out.view());
    const isNew = this.#tree.put(key, out.view());
    assert(isNew, "a result is recorded once");
    this.#dropResults(session, highest - SESSION_WINDOW);
  }

  /** The session's row is due: ends it, or moves the row to where the session ends since it was used. */
  due(id: Uint8Array): void {
    const session = sessionOf(withTag(id));
    const record = this.get(session);
    assert(record !== undefined, "a deadline belongs to a session");
    const endMs = record.usedMs + SESSION_IDLE_MS;
    if (endMs <= record.deadlineMs) {
      this.close(session);
      return;
    }
    this.#deadlines.remove(record.deadlineMs, DeadlineKind.session, this.#idOf(session));
    this.#deadlines.add(endMs, DeadlineKind.session, this.#id);
    this.#write(session, { ...record, deadlineMs: endMs });
  }

  /** Visits the sessions in the order of their ids, with the numbers whose results are kept. Not while they change. */
  forEach(
    visit: (session: number, record: SessionRecord, numbers: readonly number[]) => void,
  ): void {
    const cursor = this.#tree.cursor();
    for (let isThere = cursor.first(); isThere; isThere = cursor.next()) {
      if (!isSessionKey(cursor.key)) return;
      const session = sessionOf(cursor.key);
      const record = this.get(session);
      assert(record !== undefined, "a session that is listed is there");
      const numbers: number[] = [];
      const results = this.#cursor;
      let isResult = results.seek(this.#keys.ofResult(session, 0));
      for (; isResult && sessionOf(results.key) === session; isResult = results.next())
        numbers.push(resultNumber(results.key));
      visit(session, record, numbers);
    }
  }

  invariants(): void {
    let rows = 0;
    let sessions = 0;
    this.forEach((session, { usedMs, deadlineMs, highest }, numbers) => {
      rows += 1 + numbers.length;
      sessions++;
      assert(
        this.#deadlines.has(deadlineMs, DeadlineKind.session, this.#idOf(session)),
        "each session has its deadline among the deadlines",
      );
      assert(deadlineMs <= usedMs + SESSION_IDLE_MS, "the row of a session is never too late");
      for (const number of numbers)
        assert(
          number <= highest && number > highest - SESSION_WINDOW,
          "a result stands in the window of its session",
        );
    });
    assert(rows === this.#tree.count, "every result belongs to a session");
    assert(sessions === this.count && sessions <= SESSIONS_MAX, "the sessions are counted");
  }

  /** Forgets the results up to `last`. */
  #dropResults(session: number, last: number): void {
    for (;;) {
      if (!this.#cursor.seek(this.#keys.ofResult(session, 0))) return;
      const { key } = this.#cursor;
      if (sessionOf(key) !== session || resultNumber(key) > last) return;
      this.#tree.delete(key.slice());
    }
  }

  #write(session: number, record: SessionRecord): void {
    const out = this.#writer;
    out.reset();
    out.u8(FORMAT);
    out.varint(record.usedMs);
    out.varint(record.deadlineMs);
    out.varint(record.highest);
    const key = this.#keys.ofSession(session);
    this.#hash.mixBytes(Effect.session, key, out.view());
    this.#tree.put(key, out.view());
  }

  #idOf(session: number): Uint8Array {
    writeU64BigEndian(this.#id, 0, session);
    return this.#id;
  }
}

/** An id among the deadlines is what stands behind the tag in the session's own key. */
function withTag(id: Uint8Array): Uint8Array {
  const key = new Uint8Array(1 + id.length);
  key.set(id, 1);
  return key;
}
