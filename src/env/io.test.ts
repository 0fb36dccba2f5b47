import { describe, expect, it } from "vitest";
import { type File, FileError, type Io, runIo, writeFully } from "./index.ts";

type Done = (error: FileError | null, value: unknown) => void;

/** An operation that completes in the call itself: what the interface forbids, and the driver bears. */
function* atOnce<T>(value: T): Io<T> {
  return (yield (done: Done): void => done(null, value)) as T;
}

function* failing(code: string): Io<void> {
  yield (done: Done): void => done(new FileError(code, "write", "a"), undefined);
}

function outcomeOf<T>(io: Io<T>): { error: unknown; value: T | undefined; times: number } {
  const outcome: { error: unknown; value: T | undefined; times: number } = {
    error: undefined,
    value: undefined,
    times: 0,
  };
  runIo(io, (error, value) => {
    outcome.error = error;
    outcome.value = value;
    outcome.times++;
  });
  return outcome;
}

describe("a sequence of operations", () => {
  it("ends with its value", () => {
    const io = (function* (): Io<number> {
      return (yield* atOnce(1)) + (yield* atOnce(2));
    })();
    expect(outcomeOf(io)).toEqual({ error: null, value: 3, times: 1 });
  });

  it("may end without an operation", () => {
    // oxlint-disable-next-line require-yield -- that is the case under test
    const io = (function* (): Io<string> {
      return "nothing to do";
    })();
    expect(outcomeOf(io)).toEqual({ error: null, value: "nothing to do", times: 1 });
  });

  it("does not grow the stack when operations complete in their call", () => {
    const io = (function* (): Io<number> {
      let sum = 0;
      for (let i = 0; i < 100_000; i++) sum += yield* atOnce(1);
      return sum;
    })();
    expect(outcomeOf(io).value).toBe(100_000);
  });

  it("waits for completions that come later, one after the other", () => {
    const waiting: Done[] = [];
    const io = (function* (): Io<string> {
      const first = yield (done): void => void waiting.push(done);
      const second = yield (done): void => void waiting.push(done);
      return `${String(first)}${String(second)}`;
    })();
    const outcome = outcomeOf(io);
    expect(waiting).toHaveLength(1);
    waiting[0]?.(null, "a");
    expect(outcome.times).toBe(0);
    waiting[1]?.(null, "b");
    expect(outcome).toEqual({ error: null, value: "ab", times: 1 });
  });

  it("sees an error where it waits, and may go on after it", () => {
    const io = (function* (): Io<string> {
      try {
        yield* failing("ENOSPC");
      } catch (error) {
        expect(error).toBeInstanceOf(FileError);
        expect((error as FileError).isFull).toBe(true);
        return yield* atOnce("handled");
      }
      return "missed";
    })();
    expect(outcomeOf(io).value).toBe("handled");
  });

  it("hands on what it does not catch, and runs its finally", () => {
    let cleaned = false;
    const io = (function* (): Io<void> {
      try {
        yield* failing("EIO");
      } finally {
        yield* atOnce(0);
        cleaned = true;
      }
    })();
    const outcome = outcomeOf(io);
    expect(outcome.error).toMatchObject({ code: "EIO", operation: "write", path: "a" });
    expect(cleaned).toBe(true);
    expect(outcome.times).toBe(1);
  });

  it("hands on what its own code throws", () => {
    const io = (function* (): Io<void> {
      yield* atOnce(0);
      throw new RangeError("mine");
    })();
    expect(outcomeOf(io).error).toBeInstanceOf(RangeError);
  });

  it("stops at an operation that completes twice", () => {
    let twice: Done | undefined;
    const io = (function* (): Io<void> {
      yield (done): void => {
        twice = done;
      };
      yield (): void => {};
    })();
    outcomeOf(io);
    twice?.(null, undefined);
    expect(() => twice?.(null, undefined)).toThrow("completed twice");
  });
});

describe("writeFully", () => {
  /** A file that takes at most `most` bytes at once, and fails or takes none when told. */
  function taking(
    most: number,
    failAt = Number.POSITIVE_INFINITY,
  ): { file: File; writes: [number, number][] } {
    const writes: [number, number][] = [];
    const write: File["write"] = (offset, bytes, done) => {
      if (writes.length === failAt) return done(new FileError("EIO", "write", "a"), 0);
      writes.push([offset, bytes.length]);
      return done(null, Math.min(most, bytes.length));
    };
    return { file: { write } as File, writes };
  }

  it("repeats until nothing is left", () => {
    const { file, writes } = taking(4);
    let ended: unknown = "not yet";
    writeFully(file, 100, new Uint8Array(10), (error) => (ended = error));
    expect(ended).toBe(null);
    expect(writes).toEqual([
      [100, 10],
      [104, 6],
      [108, 2],
    ]);
  });

  it("stops at the first error", () => {
    const { file, writes } = taking(4, 1);
    let ended: unknown;
    writeFully(file, 0, new Uint8Array(10), (error) => (ended = error));
    expect(ended).toBeInstanceOf(FileError);
    expect(writes).toHaveLength(1);
  });

  it("takes no write that wrote nothing for progress", () => {
    expect(() => writeFully(taking(0).file, 0, new Uint8Array(1), () => {})).toThrow(
      "wrote nothing",
    );
  });
});
