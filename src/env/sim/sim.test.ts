import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { utf8 } from "../../base/index.ts";
import {
  closeFile,
  type Env,
  FileError,
  type Io,
  listDirectory,
  lockDirectory,
  makeDirectory,
  openFile,
  renameFile,
  syncDirectory,
  syncFile,
  unlinkFile,
  writeFile,
} from "../index.ts";
import { crashImages, runIoNow, SimEnv } from "./index.ts";
import { SimSha256 } from "./sha256.ts";

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

function* put(env: Env, path: string, bytes: Uint8Array | string, sync = true): Io<void> {
  const file = yield* openFile(env.files, path, { access: "readwrite", create: "if-missing" });
  yield* writeFile(file, 0, typeof bytes === "string" ? utf8(bytes) : bytes);
  if (sync) yield* syncFile(file);
  yield* closeFile(file);
}

describe("a power loss", () => {
  it("keeps a synced file whose name is synced", () => {
    const machine = new SimEnv({ seed: 1 });
    const env = machine.boot();
    runIoNow(machine, put(env, "a", "hello"));
    runIoNow(machine, syncDirectory(env.files, ""));
    machine.losePower("lose-all");
    expect(text(machine.disk.contents("a"))).toBe("hello");
  });

  it("may lose the name of a synced file", () => {
    const machine = new SimEnv({ seed: 1 });
    runIoNow(machine, put(machine.boot(), "a", "hello"));
    machine.losePower("lose-all");
    expect(machine.disk.paths()).toEqual([]);
  });

  it("leaves each sector of an unsynced write old or new", () => {
    const machine = new SimEnv({ seed: 1 });
    const env = machine.boot();
    runIoNow(machine, put(env, "a", new Uint8Array(1536).fill(1)));
    runIoNow(machine, syncDirectory(env.files, ""));
    runIoNow(machine, put(env, "a", new Uint8Array(1536).fill(2), false));
    const seen = new Set<string>();
    for (const disk of crashImages(machine.disk)) {
      const bytes = disk.contents("a");
      expect(bytes.length).toBe(1536);
      seen.add([0, 512, 1024].map((at) => bytes[at]).join(""));
    }
    expect([...seen].toSorted()).toEqual(["111", "112", "121", "122", "211", "212", "221", "222"]);
  });

  it("may find a file under both names after a rename between directories", () => {
    const machine = new SimEnv({ seed: 1 });
    const env = machine.boot();
    runIoNow(machine, makeDirectory(env.files, "tmp"));
    runIoNow(machine, makeDirectory(env.files, "wal"));
    runIoNow(machine, put(env, "tmp/x", "hello"));
    for (const path of ["", "tmp"]) runIoNow(machine, syncDirectory(env.files, path));
    runIoNow(machine, renameFile(env.files, "tmp/x", "wal/x"));
    const seen = Array.from(crashImages(machine.disk), (disk) => disk.paths().join(" "));
    expect(seen.toSorted()).toEqual(["tmp tmp/x wal", "tmp tmp/x wal wal/x", "tmp wal wal/x"]);
  });
});

describe("a process", () => {
  it("hears nothing after its end, and the next one can lock", () => {
    const machine = new SimEnv({ seed: 3 });
    const env = machine.boot();
    runIoNow(machine, makeDirectory(env.files, "d"));
    runIoNow(machine, lockDirectory(env.files, "d"));
    expect(() => runIoNow(machine, lockDirectory(env.files, "d"))).toThrow(FileError);
    let heard = false;
    env.files.list("d", () => (heard = true));
    machine.kill();
    machine.scheduler.run();
    expect(heard).toBe(false);
    const next = machine.boot();
    runIoNow(machine, lockDirectory(next.files, "d"));
    expect(runIoNow(machine, listDirectory(next.files, "d"))).toEqual([]);
    expect(() => runIoNow(machine, unlinkFile(next.files, "d/none"))).toThrow("ENOENT");
  });
});

it("computes SHA-256 as the host does", () => {
  for (const size of [0, 1, 55, 56, 63, 64, 65, 119, 120, 1000]) {
    const bytes = new Uint8Array(size).map((_, i) => i * 7);
    const expected = createHash("sha256").update(bytes).digest();
    expect(
      new SimSha256()
        .update(bytes.subarray(0, size >> 1))
        .update(bytes.subarray(size >> 1))
        .finish(),
    ).toEqual(new Uint8Array(expected));
  }
});
