import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { filesSuite, type FilesWorld } from "../env/files.suite.ts";
import {
  closeFile,
  type Env,
  type Io,
  lockDirectory,
  makeDirectory,
  openFile,
  runIo,
  syncFile,
  writeFile as writeBytes,
} from "../env/index.ts";
import { nodeEnv } from "./index.ts";

const env: Env = nodeEnv({ log: () => {} });

function run<T>(io: Io<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    runIo(io, (error, value) => (error === null ? resolve(value as T) : reject(error as Error)));
  });
}

filesSuite("node:fs", async (): Promise<FilesWorld> => {
  const root = await mkdtemp(join(tmpdir(), "harmonydb-files-"));
  return {
    files: env.files,
    root,
    run,
    settle: async (start) => {
      let value!: ReturnType<typeof start>;
      await new Promise<void>((resolve) => {
        value = start(resolve);
      });
      return value;
    },
    end: () => rm(root, { recursive: true }),
  };
});

describe("node:fs alone", () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "harmonydb-node-"));
  });
  afterEach(() => rm(root, { recursive: true }));

  it("tells of durable writes and of syncs, and of nothing else", async () => {
    const heard: string[] = [];
    const { files } = nodeEnv({
      log: () => {},
      onDurable: (path, durationMs) => heard.push(`${path} ${durationMs >= 0}`),
    });
    for (const [name, durableWrites] of [
      ["plain", false],
      ["durable", true],
    ] as const) {
      const access = { access: "readwrite", create: "exclusive", durableWrites } as const;
      const file = await run(openFile(files, join(root, name), access));
      await run(writeBytes(file, 0, new Uint8Array(10)));
      await run(syncFile(file));
      await run(closeFile(file));
    }
    expect(heard).toEqual([
      `${join(root, "plain")} true`,
      `${join(root, "durable")} true`,
      `${join(root, "durable")} true`,
    ]);
  });

  it("gives files and directories to their owner alone", async () => {
    await run(makeDirectory(env.files, join(root, "d")));
    const file = await run(
      openFile(env.files, join(root, "d/f"), { access: "readwrite", create: "exclusive" }),
    );
    await run(closeFile(file));
    expect((await stat(join(root, "d"))).mode & 0o777).toBe(0o700);
    expect((await stat(join(root, "d/f"))).mode & 0o777).toBe(0o600);
  });

  it("does not follow a link at the end of a path", async () => {
    await writeFile(join(root, "target"), "secret");
    await symlink(join(root, "target"), join(root, "link"));
    await expect(
      run(openFile(env.files, join(root, "link"), { access: "readwrite" })),
    ).rejects.toThrow("ELOOP");
  });
});

describe("the lock between processes", () => {
  let root: string;
  const children: ChildProcess[] = [];

  // The other process runs what the compiler made of this folder.
  beforeAll(() => {
    const project = fileURLToPath(new URL(".", import.meta.url));
    const tsc = fileURLToPath(new URL("../../node_modules/typescript/bin/tsc", import.meta.url));
    execFileSync(process.execPath, [tsc, "-b", project]);
  }, 60_000);
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "harmonydb-lock-"));
  });
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill("SIGKILL");
    await rm(root, { recursive: true });
  });

  /** Another process that tries to take the lock, says how it went, and stays. */
  async function contender(): Promise<{ child: ChildProcess; answer: string }> {
    const platform = new URL("../../dist/src/platform/index.js", import.meta.url).href;
    const script = `
      import { nodeEnv } from ${JSON.stringify(platform)};
      nodeEnv({ log() {} }).files.lock(${JSON.stringify(root)}, (error) => {
        process.stdout.write(error === null ? "locked" : error.message);
        setInterval(() => {}, 1000);
      });`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    children.push(child);
    const [answer] = (await once(child.stdout, "data")) as [Buffer];
    return { child, answer: answer.toString() };
  }

  async function killed(child: ChildProcess): Promise<void> {
    const exit = once(child, "exit");
    child.kill("SIGKILL");
    await exit;
  }

  it("refuses a second process at once, names the first, and leaves it alone", async () => {
    const first = await contender();
    expect(first.answer).toBe("locked");
    const second = await contender();
    expect(second.answer).toContain(`ELOCKED: lock ${root}`);
    expect(second.answer).toContain(`held by process ${first.child.pid}`);
    await expect(run(lockDirectory(env.files, root))).rejects.toThrow("ELOCKED");
    expect(first.child.exitCode).toBe(null);
    expect(await readFile(join(root, "LOCK"), "latin1")).toMatch(
      new RegExp(`^${first.child.pid}\n`),
    );
    if (process.platform !== "linux") return;
    // The kernel's lock is there without the file, which only says whose it is.
    await rm(join(root, "LOCK"));
    const third = await contender();
    expect(third.answer).toContain(`held by a process that ${root}/LOCK does not name`);
  });

  it("is gone after kill -9, although its file is still there", async () => {
    const first = await contender();
    await killed(first.child);
    expect(await readFile(join(root, "LOCK"), "latin1")).toMatch(
      new RegExp(`^${first.child.pid}\n`),
    );
    const second = await contender();
    expect(second.answer).toBe("locked");
    await killed(second.child);
    const lock = await run(lockDirectory(env.files, root));
    await new Promise((resolve) => lock.release(resolve));
  });

  it("meets a process of another network at the lock of the file system", async () => {
    const flock = (...args: readonly string[]): ChildProcess => {
      const child = spawn("flock", ["-n", root, ...args], { stdio: ["pipe", "pipe", "inherit"] });
      children.push(child);
      return child;
    };
    // Such a process cannot be made without privileges: whoever has that lock stands for it.
    const other = flock("sh", "-c", "echo has it; cat");
    await once(other.stdout as NodeJS.ReadableStream, "data");
    await expect(run(lockDirectory(env.files, root))).rejects.toThrow("ELOCKED");
    other.stdin?.end();
    await once(other, "exit");
    const lock = await run(lockDirectory(env.files, root));
    const code = async (): Promise<unknown> =>
      ((await once(flock("true"), "exit")) as unknown[])[0];
    expect(await code()).toBe(1);
    await new Promise((resolve) => lock.release(resolve));
    expect(await code()).toBe(0);
  });

  it("does without the lock of the file system where no program takes it", async () => {
    const path = process.env["PATH"];
    process.env["PATH"] = root;
    try {
      const lock = await run(lockDirectory(env.files, root));
      await expect(run(lockDirectory(env.files, root))).rejects.toThrow("ELOCKED");
      await new Promise((resolve) => lock.release(resolve));
    } finally {
      process.env["PATH"] = path;
    }
  });

  it("sees one directory under two names", async () => {
    const link = `${root}-link`;
    await symlink(root, link);
    try {
      await contender();
      await expect(run(lockDirectory(env.files, link))).rejects.toThrow("ELOCKED");
    } finally {
      await rm(link);
    }
  });
});

describe("without sockets", () => {
  let root: string;
  let file: string;
  const platform = Object.getOwnPropertyDescriptor(process, "platform") as PropertyDescriptor;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "harmonydb-lock-"));
    file = join(root, "LOCK");
    Object.defineProperty(process, "platform", { ...platform, value: "other" });
  });
  afterEach(async () => {
    Object.defineProperty(process, "platform", platform);
    await rm(root, { recursive: true });
  });

  it("the file is the lock: a living process keeps it", async () => {
    await writeFile(file, `${process.ppid}\n`);
    await expect(run(lockDirectory(env.files, root))).rejects.toThrow(
      `held by process ${process.ppid}`,
    );
    expect(await readFile(file, "latin1")).toBe(`${process.ppid}\n`);
  });

  it("a process that is gone has lost it", async () => {
    const gone = spawn(process.execPath, ["-e", ""]);
    await once(gone, "exit");
    await writeFile(file, `${gone.pid}\n`);
    const lock = await run(lockDirectory(env.files, root));
    expect(await readFile(file, "latin1")).toMatch(new RegExp(`^${process.pid}\n`));
    expect(await readdir(root)).toEqual(["LOCK"]);
    await new Promise((resolve) => lock.release(resolve));
    expect(await readdir(root)).toEqual([]);
  });

  it("a file that names nobody is refused, never guessed away", async () => {
    await writeFile(file, "");
    await expect(run(lockDirectory(env.files, root))).rejects.toThrow("ELOCKED");
  });
});

describe("the host's clock, timers and entropy", () => {
  it("fires no earlier than asked, and not after a cancel", async () => {
    const startMs = env.clock.monotonicMs();
    let cancelled = false;
    env.timers.after(1, () => (cancelled = true)).cancel();
    await new Promise<void>((resolve) => env.timers.after(3.7, resolve));
    expect(env.clock.monotonicMs() - startMs).toBeGreaterThanOrEqual(3.7);
    expect(cancelled).toBe(false);
  });

  it("calls soon, but not now", async () => {
    let called = false;
    const soon = new Promise<void>((resolve) =>
      env.timers.soon(() => {
        called = true;
        resolve();
      }),
    );
    expect(called).toBe(false);
    await soon;
  });

  it("gives plain bytes, not Buffers", () => {
    expect(env.entropy.bytes(100_000).constructor).toBe(Uint8Array);
    expect(env.entropy.bytes(16)).not.toEqual(env.entropy.bytes(16));
    expect(env.sha256().update(new Uint8Array(3)).finish().constructor).toBe(Uint8Array);
    expect(env.entropy.u32()).toBeLessThan(2 ** 32);
  });
});
