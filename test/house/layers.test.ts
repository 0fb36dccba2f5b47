/**
 * The layers of docs/architecture are held by the compiler and the linter, not by good will. Each violation here is
 * planted into a copy of the house and must be refused for the right reason; the same house without it must pass.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Complaints, FOLDERS, PlantedHouse } from "./planted.ts";

interface Violation {
  readonly what: string;
  readonly file: string;
  readonly text: string;
  readonly refusedBy: "compiler" | "linter";
  readonly because: RegExp;
}

const VIOLATIONS: readonly Violation[] = [
  {
    what: "raft imports its neighbour btree",
    file: "src/raft/sideways.ts",
    text: 'import { btree } from "../btree/index.ts";\nexport const seen: string = btree;\n',
    refusedBy: "compiler",
    because: /TS6307.*src\/btree\/index\.ts/,
  },
  {
    what: "mvcc imports its neighbour wal",
    file: "src/mvcc/sideways.ts",
    text: 'import { wal } from "../wal/index.ts";\nexport const seen: string = wal;\n',
    refusedBy: "compiler",
    because: /TS6307.*src\/wal\/index\.ts/,
  },
  {
    what: "wal imports upwards",
    file: "src/wal/upwards.ts",
    text: 'import { replica } from "../replica/index.ts";\nexport const seen: string = replica;\n',
    refusedBy: "compiler",
    because: /TS6307.*src\/replica\/index\.ts/,
  },
  {
    what: "a pure layer imports the shell",
    file: "src/db/shell.ts",
    text: 'import { platform } from "../platform/index.ts";\nexport const seen: string = platform;\n',
    refusedBy: "compiler",
    because: /TS6307.*src\/platform\/index\.ts/,
  },
  {
    what: "the shell imports an adapter",
    file: "src/server/adapter.ts",
    text: 'import { adapters } from "../adapters/index.ts";\nexport const seen: string = adapters;\n',
    refusedBy: "compiler",
    because: /TS6307.*src\/adapters\/index\.ts/,
  },
  {
    what: "the client imports the server",
    file: "src/client/sideways.ts",
    text: 'import { server } from "../server/index.ts";\nexport const seen: string = server;\n',
    refusedBy: "compiler",
    because: /TS6307.*src\/server\/index\.ts/,
  },
  {
    what: "wal imports node:fs",
    file: "src/wal/disk.ts",
    text: 'import { openSync } from "node:fs";\nexport const file: number = openSync("wal", "r");\n',
    refusedBy: "compiler",
    because: /TS2591: Cannot find name 'node:fs'/,
  },
  {
    what: "raft sets a timer of the host",
    file: "src/raft/timer.ts",
    text: "export function later(fire: () => void): void {\n  setTimeout(fire, 1);\n}\n",
    refusedBy: "compiler",
    because: /TS2304: Cannot find name 'setTimeout'/,
  },
  {
    what: "btree uses Buffer",
    file: "src/btree/buffer.ts",
    text: "export const page: Uint8Array = Buffer.alloc(4096);\n",
    refusedBy: "compiler",
    because: /Cannot find name 'Buffer'/,
  },
  {
    what: "db prints to the console",
    file: "src/db/print.ts",
    text: 'export function say(): void {\n  console.log("applied");\n}\n',
    refusedBy: "compiler",
    because: /Cannot find name 'console'/,
  },
  {
    what: "raft asks Date.now",
    file: "src/raft/clock.ts",
    text: "export const now: number = Date.now();\n",
    refusedBy: "linter",
    because: /no-restricted-globals/,
  },
  {
    what: "replica makes a Date",
    file: "src/replica/date.ts",
    text: "export const stamp: string = new Date().toISOString();\n",
    refusedBy: "linter",
    because: /no-restricted-globals/,
  },
  {
    what: "raft asks Math.random",
    file: "src/raft/dice.ts",
    text: "export const jitter: number = Math.random();\n",
    refusedBy: "linter",
    because: /no-restricted-properties/,
  },
  {
    what: "wal reaches the host through globalThis",
    file: "src/wal/global.ts",
    text: "export const host: unknown = globalThis;\n",
    refusedBy: "linter",
    because: /no-restricted-globals/,
  },
  {
    what: "wal imports past the door of raft",
    file: "src/wal/deep.ts",
    text: 'import { secret } from "../raft/inner.ts";\nexport const seen: string = secret;\n',
    refusedBy: "linter",
    because: /no-restricted-imports/,
  },
  {
    what: "the shell imports past the door of db",
    file: "src/server/deep.ts",
    text: 'import { secret } from "../db/inner.ts";\nexport const seen: string = secret;\n',
    refusedBy: "linter",
    because: /no-restricted-imports/,
  },
  {
    what: "an adapter imports what the front door hides",
    file: "src/adapters/below.ts",
    text: 'import { db } from "../db/index.ts";\nexport const seen: string = db;\n',
    refusedBy: "linter",
    because: /no-restricted-imports/,
  },
  {
    what: "the shell drops a promise",
    file: "src/server/floating.ts",
    text: "async function write(): Promise<void> {\n  await Promise.resolve();\n}\nexport function go(): void {\n  write();\n}\n",
    refusedBy: "linter",
    because: /no-floating-promises/,
  },
];

/** What the violations need to exist, and what stands beside them and is right. */
const CLEAN: Readonly<Record<string, string>> = {
  "src/raft/inner.ts": 'export const secret: string = "inner";\n',
  "src/db/inner.ts": 'export const secret: string = "inner";\n',
  "src/wal/below.ts":
    'import { base } from "../base/index.ts";\nimport { env } from "../env/index.ts";\nimport { raft } from "../raft/index.ts";\nexport const below: string = base + env + raft;\n',
  "src/raft/own.ts": 'import { secret } from "./inner.ts";\nexport const own: string = secret;\n',
  "src/raft/test-clock.test.ts": "export const now: number = Date.now();\n",
  "src/server/host.ts":
    'import { createServer } from "node:net";\nimport { db } from "../db/index.ts";\nexport const server: unknown = createServer();\nexport const name: string = db;\n',
  "src/adapters/front.ts":
    'import { front } from "../index.ts";\nexport const name: string = front;\n',
  "src/db/text.ts": 'export const bytes: Uint8Array = new TextEncoder().encode("portable");\n',
};

describe("the house with only clean code in it", () => {
  let house: PlantedHouse;
  beforeAll(() => {
    house = new PlantedHouse(CLEAN);
  });
  afterAll(() => house.remove());

  it("has every folder of the architecture that exists so far", () => {
    expect(FOLDERS).toEqual(
      expect.arrayContaining([
        "base",
        "env",
        "raft",
        "btree",
        "codec",
        "wal",
        "mvcc",
        "replica",
        "db",
        "server",
        "platform",
        "cli",
        "adapters",
      ]),
    );
  });

  it("passes the compiler", () => {
    expect(house.compile()).toEqual([]);
  }, 60_000);

  it("passes the linter", () => {
    expect(house.lint()).toEqual([]);
  }, 60_000);
});

describe("the house refuses that", () => {
  let house: PlantedHouse;
  let complaints: { readonly compiler: Complaints; readonly linter: Complaints };
  beforeAll(() => {
    house = new PlantedHouse({
      ...CLEAN,
      ...Object.fromEntries(VIOLATIONS.map(({ file, text }) => [file, text])),
    });
    complaints = { compiler: house.compile(), linter: house.lint() };
  }, 60_000);
  afterAll(() => house.remove());

  it.each(VIOLATIONS.map((violation) => [violation.what, violation] as const))(
    "%s",
    (_what, { file, refusedBy, because }) => {
      const about = complaints[refusedBy].filter((complaint) => complaint.startsWith(`${file}: `));
      expect(about.join("\n")).toMatch(because);
    },
  );

  it("and complains of nothing else", () => {
    const planted = new Set(VIOLATIONS.map(({ file }) => file));
    const strangers = [...complaints.compiler, ...complaints.linter].filter(
      (complaint) => !planted.has(complaint.slice(0, complaint.indexOf(":"))),
    );
    expect(strangers).toEqual([]);
  });
});
