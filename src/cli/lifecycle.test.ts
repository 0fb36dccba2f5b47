import { describe, expect, it } from "vitest";
import { AssertionError, CorruptionError, HarmonyError } from "../base/index.ts";
import { FileError, type LogSink } from "../env/index.ts";
import { Exit } from "./exit.ts";
import {
  type Host,
  type Parts,
  type RunningNode,
  runServer,
  type RunningServer,
  type StopSignal,
} from "./lifecycle.ts";

const RECOVERY = {
  snapshotLoaded: true,
  snapshotEntries: 2,
  walEntriesReplayed: 3,
  corruptedEntries: 0,
  durationMs: 4,
};

/** A process made of arrays, whose events the test sends by hand. */
class FakeProcess implements Host {
  readonly events: string[] = [];
  readonly lines: string[] = [];
  readonly logged: string[] = [];
  readonly timers: { readonly delayMs: number; readonly fire: () => void }[] = [];
  #signal: (signal: StopSignal) => void = () => undefined;
  #uncaught: (error: unknown) => void = () => undefined;

  readonly log: LogSink = (level, _logger, message, fields) => {
    this.logged.push(`${level}: ${message} ${JSON.stringify(fields ?? {})}`);
  };
  readyLine(line: string): void {
    this.lines.push(line);
  }
  onSignal(listener: (signal: StopSignal) => void): void {
    this.#signal = listener;
  }
  onUncaught(listener: (error: unknown) => void): void {
    this.#uncaught = listener;
  }
  after(delayMs: number, fire: () => void): void {
    this.timers.push({ delayMs, fire });
  }
  exit(code: number): void {
    this.events.push(`exit ${code}`);
  }
  signal(signal: StopSignal): void {
    this.#signal(signal);
  }
  uncaught(error: unknown): void {
    this.#uncaught(error);
  }
}

interface Scene {
  readonly host: FakeProcess;
  readonly parts: Parts<RunningNode>;
  readonly fatal: (error: unknown) => void;
}

function scene(
  overrides: {
    start?: () => Promise<void>;
    listen?: () => Promise<void>;
    closeNode?: () => Promise<void>;
    closeServer?: () => Promise<void>;
  } = {},
): Scene {
  const host = new FakeProcess();
  let fatal: (error: unknown) => void = () => undefined;
  const nothing = (): Promise<void> => Promise.resolve();
  const server: RunningServer = {
    addresses: ["http://127.0.0.1:4711"],
    close: async (graceMs) => {
      host.events.push(`server closes within ${graceMs}`);
      await (overrides.closeServer ?? nothing)();
    },
  };
  const node: RunningNode = {
    recovery: RECOVERY,
    onFatal: (listener) => (fatal = listener),
    close: async () => {
      host.events.push("node closes");
      await (overrides.closeNode ?? nothing)();
    },
  };
  return {
    host,
    parts: {
      startNode: async () => {
        await (overrides.start ?? nothing)();
        return node;
      },
      serve: async () => {
        await (overrides.listen ?? nothing)();
        return server;
      },
    },
    fatal: (error) => fatal(error),
  };
}

const OPTIONS = { name: "n1", dataDir: "/d", shutdownTimeoutMs: 3000, warnings: [] };
const never = (): Promise<void> => new Promise(() => undefined);

/** Lets promise callbacks run: nothing in these tests waits for time. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

describe("the life of a serving process", () => {
  it("prints exactly one ready line, with what recovery found", async () => {
    const { host, parts } = scene();
    await runServer(OPTIONS, parts, host);
    expect(host.lines.map((line) => JSON.parse(line) as unknown)).toEqual([
      { ready: true, name: "n1", client: ["http://127.0.0.1:4711"], recovery: RECOVERY },
    ]);
    expect(host.events).toEqual([]);
  });

  it("listens only when the node has recovered, and is ready only when it listens", async () => {
    let recovered: () => void = () => undefined;
    let listening: () => void = () => undefined;
    const { host, parts } = scene({
      start: () => new Promise((resolve) => (recovered = resolve)),
      listen: () => {
        host.events.push("listens");
        return new Promise((resolve) => (listening = resolve));
      },
    });
    const running = runServer(OPTIONS, parts, host);
    await settle();
    expect([host.events, host.lines]).toEqual([[], []]);
    recovered();
    await settle();
    expect([host.events, host.lines]).toEqual([["listens"], []]);
    listening();
    await running;
    expect(host.lines).toHaveLength(1);
  });

  it("on SIGTERM closes the door first, then the node, then exits 0", async () => {
    const { host, parts } = scene();
    await runServer(OPTIONS, parts, host);
    host.signal("SIGTERM");
    await settle();
    expect(host.events).toEqual(["server closes within 3000", "node closes", "exit 0"]);
  });

  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("exits at once when a second signal comes: %s gives %d", async (signal, code) => {
    const { host, parts } = scene({ closeServer: never });
    await runServer(OPTIONS, parts, host);
    host.signal("SIGTERM");
    await settle();
    host.signal(signal);
    expect(host.events).toEqual(["server closes within 3000", `exit ${code}`]);
  });

  it("does not wait for ever for a disk that does not answer", async () => {
    const { host, parts } = scene({ closeNode: never });
    await runServer(OPTIONS, parts, host);
    host.signal("SIGTERM");
    await settle();
    expect(host.timers.map((timer) => timer.delayMs)).toEqual([4500]);
    host.timers[0]?.fire();
    expect(host.events.at(-1)).toBe(`exit ${Exit.disk}`);
  });

  it("exits 0 at a signal during the start, without a ready line", async () => {
    let go: () => void = () => undefined;
    const { host, parts } = scene({ start: () => new Promise((resolve) => (go = resolve)) });
    const running = runServer(OPTIONS, parts, host);
    host.signal("SIGINT");
    go();
    await running;
    expect(host.events).toEqual(["exit 0"]);
    expect(host.lines).toEqual([]);
  });

  it.each([
    [
      "a locked directory",
      new HarmonyError("DIRECTORY_LOCKED", "/d"),
      1,
      /stop the other harmonydb that runs on \/d/,
    ],
    [
      "damage",
      new CorruptionError({ file: "/d/wal/1.wal", offset: 4096, what: "checksum" }),
      70,
      /1\.wal at offset 4096.*wal verify --data-dir \/d/,
    ],
    [
      "another cluster's directory",
      new HarmonyError("WRONG_CLUSTER", "/d"),
      1,
      /--initial-cluster-token/,
    ],
    ["a newer format", new HarmonyError("NEWER_FORMAT", "/d"), 1, /newer harmonydb/],
    [
      "missing rights",
      new FileError("EACCES", "open", "/d/VERSION"),
      1,
      /give the user of this process access/,
    ],
    ["a disk that answers EIO", new FileError("EIO", "read", "/d/VERSION"), 74, /look at the disk/],
    ["a broken invariant", new TypeError("x is undefined"), 134, /this is a defect/],
  ])(
    "ends a start with %s by its exit code and says what to do",
    async (_what, error, code, advice) => {
      const { host, parts } = scene({ start: () => Promise.reject(error) });
      await runServer(OPTIONS, parts, host);
      expect(host.events).toEqual([`exit ${code}`]);
      expect(host.logged.at(-1)).toMatch(/^error: /);
      expect(host.logged.at(-1)).toMatch(advice);
      expect(host.lines).toEqual([]);
    },
  );

  it("closes the node when the port is taken, and exits 1 naming the option", async () => {
    const inUse = Object.assign(
      new Error("listen EADDRINUSE: address already in use 127.0.0.1:2379"),
      { code: "EADDRINUSE" },
    );
    const { host, parts } = scene({ listen: () => Promise.reject(inUse) });
    await runServer(OPTIONS, parts, host);
    expect(host.events).toEqual(["node closes", "exit 1"]);
    expect(host.logged.at(-1)).toMatch(/127\.0\.0\.1:2379.*--listen-client-urls/);
  });

  it.each([
    [
      "a failed sync",
      new HarmonyError("STOPPED", "wal", { cause: new FileError("EIO", "sync", "/d/wal/1.wal") }),
      74,
    ],
    [
      "an invariant that broke while an entry was applied",
      new HarmonyError("STOPPED", "apply", { cause: new AssertionError("entries have no gaps") }),
      134,
    ],
    [
      "damage that an entry ran into",
      new HarmonyError("STOPPED", "apply", {
        cause: new CorruptionError({ file: "/d/db/0.hdb", offset: 8192, what: "checksum" }),
      }),
      70,
    ],
    ["a full disk under an open file", new FileError("ENOSPC", "write", "/d/wal/1.wal"), 74],
    [
      "damage found while running",
      new CorruptionError({ file: "/d/db/0.hdb", offset: 8192, what: "checksum" }),
      70,
    ],
  ])("ends a running node on %s without closing it politely", async (_what, error, code) => {
    const { host, parts, fatal } = scene();
    await runServer(OPTIONS, parts, host);
    fatal(error);
    await settle();
    expect(host.events).toEqual([`exit ${code}`]);
  });

  it.each([
    ["an exception that nobody caught", new Error("boom"), 134],
    ["a rejected promise with an ordinary error", new HarmonyError("TIMEOUT"), 74],
    ["a thrown text", "boom", 134],
  ])("never goes on after %s", async (_what, error, code) => {
    const { host, parts } = scene();
    await runServer(OPTIONS, parts, host);
    host.uncaught(error);
    expect(host.events).toEqual([`exit ${code}`]);
  });

  it("reports an error of the last sync instead of exit 0", async () => {
    const { host, parts } = scene({
      closeNode: () => Promise.reject(new FileError("EIO", "sync", "/d/wal/1.wal")),
    });
    await runServer(OPTIONS, parts, host);
    host.signal("SIGTERM");
    await settle();
    expect(host.events.filter((event) => event.startsWith("exit"))).toEqual(["exit 74"]);
  });

  it("logs the warnings of the configuration", async () => {
    const { host, parts } = scene();
    await runServer({ ...OPTIONS, warnings: ["odd"] }, parts, host);
    expect(host.logged[0]).toBe("warn: odd {}");
  });
});
