/** What every implementation of `Files` does, checked on each of them. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { utf8 } from "../base/index.ts";
import {
  closeFile,
  type Completion,
  type File,
  FileError,
  type Files,
  fileSize,
  type Io,
  listDirectory,
  lockDirectory,
  makeDirectory,
  openFile,
  readFile,
  renameFile,
  syncDirectory,
  syncFile,
  truncateFile,
  unlinkFile,
  writeFile,
  writeFully,
} from "./index.ts";

/** An empty directory, and the means to run operations in it. */
export interface FilesWorld {
  readonly files: Files;
  readonly root: string;
  run<T>(io: Io<T>): Promise<T>;
  /** Runs until `done` has been called. */
  settle<T>(start: (done: () => void) => T): Promise<T>;
  end(): Promise<void>;
}

const MISSING = { access: "read" } as const;
const NEW = { access: "readwrite", create: "exclusive" } as const;

export function filesSuite(implementation: string, begin: () => Promise<FilesWorld>): void {
  describe(`files: ${implementation}`, () => {
    let world: FilesWorld;
    let files: Files;
    let at: (name: string) => string;

    beforeEach(async () => {
      world = await begin();
      files = world.files;
      at = (name) => `${world.root}/${name}`;
    });
    afterEach(() => world.end());

    /** The code that `io` fails with, after checking that it is a FileError that names the operation. */
    async function codeOf(operation: string, io: Io<unknown>): Promise<string> {
      try {
        await world.run(io);
      } catch (error) {
        expect(error).toBeInstanceOf(FileError);
        expect((error as FileError).operation).toBe(operation);
        return (error as FileError).code;
      }
      return "no error";
    }

    function* put(name: string, content: Uint8Array): Io<void> {
      const file = yield* openFile(files, at(name), { access: "readwrite", create: "if-missing" });
      yield* writeFile(file, 0, content);
      yield* closeFile(file);
    }

    function* get(name: string): Io<Uint8Array> {
      const file = yield* openFile(files, at(name), { access: "read" });
      const bytes = new Uint8Array(yield* fileSize(file));
      expect(yield* readFile(file, 0, bytes)).toBe(bytes.length);
      yield* closeFile(file);
      return bytes;
    }

    describe("open", () => {
      it("refuses what does not exist", async () => {
        expect(await codeOf("open", openFile(files, at("none"), MISSING))).toBe("ENOENT");
        expect(await codeOf("open", openFile(files, at("no/such/way"), NEW))).toBe("ENOENT");
      });

      it("creates an empty file when asked, and keeps one that is there", async () => {
        const create = { access: "readwrite", create: "if-missing" } as const;
        await world.run(put("a", utf8("kept")));
        const [size, fresh] = await world.run(
          (function* (): Io<[number, number]> {
            const old = yield* openFile(files, at("a"), create);
            const file = yield* openFile(files, at("b"), create);
            const sizes: [number, number] = [yield* fileSize(old), yield* fileSize(file)];
            yield* closeFile(old);
            yield* closeFile(file);
            return sizes;
          })(),
        );
        expect([size, fresh]).toEqual([4, 0]);
      });

      it("creates exclusively only once", async () => {
        await world.run(
          (function* (): Io<void> {
            yield* closeFile(yield* openFile(files, at("a"), NEW));
          })(),
        );
        expect(await codeOf("open", openFile(files, at("a"), NEW))).toBe("EEXIST");
      });

      it("gives no writable file for a directory, nor for a path through a file", async () => {
        await world.run(put("a", utf8("x")));
        expect(await codeOf("open", openFile(files, world.root, { access: "readwrite" }))).toBe(
          "EISDIR",
        );
        expect(await codeOf("open", openFile(files, at("a/b"), NEW))).toBe("ENOTDIR");
      });

      it("lets a file opened for reading be read only", async () => {
        await world.run(put("a", utf8("x")));
        const file = await world.run(openFile(files, at("a"), { access: "read" }));
        expect(await codeOf("write", writeFile(file, 0, utf8("y")))).toBe("EBADF");
        await world.run(closeFile(file));
        expect(await world.run(get("a"))).toEqual(utf8("x"));
      });
    });

    describe("read and write", () => {
      let file: File;
      beforeEach(async () => {
        file = await world.run(openFile(files, at("f"), NEW));
      });
      afterEach(() => world.run(closeFile(file)));

      it("reads back what was written, through callbacks and in the call", async () => {
        const bytes = new Uint8Array(10_000).map((_, i) => i * 31);
        await world.run(writeFile(file, 777, bytes));
        const later = new Uint8Array(bytes.length);
        expect(await world.run(readFile(file, 777, later))).toBe(bytes.length);
        expect(later).toEqual(bytes);
        const now = new Uint8Array(bytes.length);
        expect(file.readSync(777, now)).toBe(bytes.length);
        expect(now).toEqual(bytes);
      });

      it("reads fewer bytes at the end and none past it, and leaves the rest of the buffer alone", async () => {
        await world.run(writeFile(file, 0, utf8("hello")));
        const into = new Uint8Array(4).fill(9);
        expect(await world.run(readFile(file, 3, into))).toBe(2);
        expect([...into]).toEqual([...utf8("lo"), 9, 9]);
        expect(file.readSync(3, into)).toBe(2);
        expect(await world.run(readFile(file, 5, into))).toBe(0);
        expect(file.readSync(99_999, into)).toBe(0);
        expect(await world.run(readFile(file, 0, new Uint8Array(0)))).toBe(0);
      });

      it("overwrites in place", async () => {
        await world.run(writeFile(file, 0, utf8("aaaaaa")));
        await world.run(writeFile(file, 2, utf8("bb")));
        expect(await world.run(get("f"))).toEqual(utf8("aabbaa"));
      });

      it("reads holes as zeros and counts them in the size", async () => {
        await world.run(writeFile(file, 100_000, utf8("x")));
        expect(await world.run(fileSize(file))).toBe(100_001);
        const into = new Uint8Array(50_000).fill(7);
        expect(file.readSync(25_000, into)).toBe(50_000);
        expect(into.every((byte) => byte === 0)).toBe(true);
      });

      it("takes a write of no bytes and does not grow for it", async () => {
        await world.run(writeFile(file, 50, new Uint8Array(0)));
        expect(await world.run(fileSize(file))).toBe(0);
      });

      it("truncates, and what comes back by growing is zeros", async () => {
        await world.run(writeFile(file, 0, utf8("abcdefgh")));
        await world.run(truncateFile(file, 3));
        expect(await world.run(get("f"))).toEqual(utf8("abc"));
        await world.run(truncateFile(file, 6));
        expect([...(await world.run(get("f")))]).toEqual([...utf8("abc"), 0, 0, 0]);
        await world.run(truncateFile(file, 0));
        expect(await world.run(fileSize(file))).toBe(0);
      });

      it("keeps disjoint writes and reads that overlap in time apart", async () => {
        const parts = Array.from({ length: 16 }, (_, i) => new Uint8Array(700).fill(i + 1));
        await world.settle((done) => {
          let left = parts.length;
          for (const [i, part] of parts.entries()) {
            writeFully(file, i * 700, part, (error) => {
              expect(error).toBe(null);
              if (--left === 0) done();
            });
          }
        });
        const content = await world.run(get("f"));
        expect(content.length).toBe(16 * 700);
        expect(content.every((byte, i) => byte === Math.floor(i / 700) + 1)).toBe(true);
      });

      it("shows a write to every open file of the same path at once", async () => {
        const other = await world.run(openFile(files, at("f"), { access: "read" }));
        await world.run(writeFile(file, 0, utf8("seen")));
        const into = new Uint8Array(4);
        expect(other.readSync(0, into)).toBe(4);
        expect(into).toEqual(utf8("seen"));
        await world.run(closeFile(other));
      });

      it("syncs, again and again", async () => {
        await world.run(writeFile(file, 0, utf8("a")));
        await world.run(syncFile(file));
        await world.run(syncFile(file));
      });
    });

    it("writes durably, and such a file reads, syncs and truncates as any other", async () => {
      const file = await world.run(openFile(files, at("d"), { ...NEW, durableWrites: true }));
      await world.run(writeFile(file, 0, utf8("one")));
      await world.run(writeFile(file, 3, utf8("two")));
      await world.run(syncFile(file));
      await world.run(truncateFile(file, 5));
      await world.run(closeFile(file));
      expect(await world.run(get("d"))).toEqual(utf8("onetw"));
    });

    it("answers EBADF for a closed file, whatever is asked", async () => {
      const file = await world.run(openFile(files, at("f"), NEW));
      await world.run(closeFile(file));
      expect(await codeOf("read", readFile(file, 0, new Uint8Array(1)))).toBe("EBADF");
      expect(await codeOf("write", writeFile(file, 0, new Uint8Array(1)))).toBe("EBADF");
      expect(await codeOf("sync", syncFile(file))).toBe("EBADF");
      expect(await codeOf("truncate", truncateFile(file, 0))).toBe("EBADF");
      expect(await codeOf("size", fileSize(file))).toBe("EBADF");
      expect(await codeOf("close", closeFile(file))).toBe("EBADF");
      expect(() => file.readSync(0, new Uint8Array(1))).toThrow("EBADF");
    });

    it("stops when a file is closed under an operation", async () => {
      const file = await world.run(openFile(files, at("f"), NEW));
      await world.settle((done) => {
        file.write(0, utf8("x"), done);
        expect(() => file.close(done)).toThrow("under way");
      });
      await world.run(closeFile(file));
    });

    describe("names", () => {
      it("lists in byte order, directories too", async () => {
        for (const name of ["b", "a", "é", "Z", "a.b", "10", "9", "\u{1f600}", "\uffee"])
          await world.run(put(name, utf8(name)));
        await world.run(makeDirectory(files, at("m")));
        expect(await world.run(listDirectory(files, world.root))).toEqual([
          "10",
          "9",
          "Z",
          "a",
          "a.b",
          "b",
          "m",
          "é",
          "\uffee",
          "\u{1f600}",
        ]);
        expect(await world.run(listDirectory(files, at("m")))).toEqual([]);
        expect(await codeOf("list", listDirectory(files, at("none")))).toBe("ENOENT");
        expect(await codeOf("list", listDirectory(files, at("a")))).toBe("ENOTDIR");
      });

      it("renames over what is there, across directories", async () => {
        await world.run(makeDirectory(files, at("m")));
        await world.run(put("a", utf8("new")));
        await world.run(put("m/b", utf8("old")));
        await world.run(renameFile(files, at("a"), at("m/b")));
        expect(await world.run(get("m/b"))).toEqual(utf8("new"));
        expect(await world.run(listDirectory(files, world.root))).toEqual(["m"]);
        expect(await codeOf("rename", renameFile(files, at("a"), at("c")))).toBe("ENOENT");
        await world.run(renameFile(files, at("m/b"), at("m/b")));
        expect(await world.run(get("m/b"))).toEqual(utf8("new"));
      });

      it("renames no file over a directory and no directory into itself", async () => {
        await world.run(makeDirectory(files, at("m")));
        await world.run(put("a", utf8("x")));
        expect(await codeOf("rename", renameFile(files, at("a"), at("m")))).toBe("EISDIR");
        expect(await codeOf("rename", renameFile(files, at("m"), at("a")))).toBe("ENOTDIR");
        expect(await codeOf("rename", renameFile(files, at("m"), at("m/n")))).toBe("EINVAL");
      });

      it("leaves an unlinked file readable through what is open", async () => {
        await world.run(put("a", utf8("still")));
        const file = await world.run(openFile(files, at("a"), { access: "read" }));
        await world.run(unlinkFile(files, at("a")));
        expect(await world.run(listDirectory(files, world.root))).toEqual([]);
        const into = new Uint8Array(5);
        expect(file.readSync(0, into)).toBe(5);
        expect(into).toEqual(utf8("still"));
        await world.run(closeFile(file));
        expect(await codeOf("unlink", unlinkFile(files, at("a")))).toBe("ENOENT");
      });

      it("keeps a file open under its new name", async () => {
        const file = await world.run(openFile(files, at("a"), NEW));
        await world.run(renameFile(files, at("a"), at("b")));
        await world.run(writeFile(file, 0, utf8("moved")));
        await world.run(closeFile(file));
        expect(await world.run(get("b"))).toEqual(utf8("moved"));
      });

      it("unlinks no directory", async () => {
        await world.run(makeDirectory(files, at("m")));
        expect(["EISDIR", "EPERM"]).toContain(await codeOf("unlink", unlinkFile(files, at("m"))));
      });

      it("makes a directory once, and none without its parent", async () => {
        await world.run(makeDirectory(files, at("m")));
        expect(await codeOf("mkdir", makeDirectory(files, at("m")))).toBe("EEXIST");
        expect(await codeOf("mkdir", makeDirectory(files, at("x/y")))).toBe("ENOENT");
        await world.run(put("f", utf8("x")));
        expect(await codeOf("mkdir", makeDirectory(files, at("f")))).toBe("EEXIST");
      });

      it("syncs a directory, and no file as one", async () => {
        await world.run(syncDirectory(files, world.root));
        expect(await codeOf("syncDir", syncDirectory(files, at("none")))).toBe("ENOENT");
        await world.run(put("f", utf8("x")));
        expect(await codeOf("syncDir", syncDirectory(files, at("f")))).toBe("ENOTDIR");
      });
    });

    describe("lock", () => {
      it("has one holder, under every path of the directory, and may be taken after its release", async () => {
        const lock = await world.run(lockDirectory(files, world.root));
        expect(await codeOf("lock", lockDirectory(files, world.root))).toBe("ELOCKED");
        expect(await codeOf("lock", lockDirectory(files, `${world.root}/./`))).toBe("ELOCKED");
        await world.settle((done) => lock.release(done));
        const again = await world.run(lockDirectory(files, world.root));
        await world.settle((done) => again.release(done));
      });

      it("is one for each directory", async () => {
        await world.run(makeDirectory(files, at("m")));
        const outer = await world.run(lockDirectory(files, world.root));
        const inner = await world.run(lockDirectory(files, at("m")));
        await world.settle((done) => outer.release(() => inner.release(done)));
      });

      it("needs a directory", async () => {
        await world.run(put("f", utf8("x")));
        expect(await codeOf("lock", lockDirectory(files, at("none")))).toBe("ENOENT");
        expect(await codeOf("lock", lockDirectory(files, at("f")))).toBe("ENOTDIR");
      });
    });

    it("never completes inside the call that asked, in success and in failure", async () => {
      await world.run(put("a", utf8("x")));
      const file = await world.run(openFile(files, at("a"), { access: "readwrite" }));
      const closed = await world.run(openFile(files, at("a"), { access: "read" }));
      await world.run(closeFile(closed));
      type Start = (done: Completion<unknown>) => void;
      const asks: Start[] = [
        (done): void => files.open(at("none"), MISSING, done),
        (done): void => files.rename(at("none"), at("b"), done),
        (done): void => files.unlink(at("none"), done),
        (done): void => files.list(world.root, done),
        (done): void => files.mkdir(at("m"), done),
        (done): void => files.syncDir(world.root, done),
        (done): void => files.lock(at("none"), done),
        (done): void => file.size(done),
        (done): void => file.read(0, new Uint8Array(1), done),
        (done): void => file.read(0, new Uint8Array(0), done),
        (done): void => file.write(0, utf8("y"), done),
        (done): void => file.write(0, new Uint8Array(0), done),
        (done): void => file.sync(done),
        (done): void => file.truncate(1, done),
        (done): void => closed.size(done),
        (done): void => closed.close(done),
      ];
      for (const ask of asks) {
        await world.settle((done) => {
          let inside = true;
          let times = 0;
          ask(() => {
            expect(inside).toBe(false);
            expect(++times).toBe(1);
            done();
          });
          inside = false;
        });
      }
      await world.run(closeFile(file));
    });
  });
}
