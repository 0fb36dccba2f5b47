/** The package as its users get it: packed, unpacked into an empty project, and imported by each of its paths. */
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta: Readonly<Record<string, { readonly optional: boolean }>>;
  readonly exports: Readonly<Record<string, unknown>>;
};
const SUBPATHS = ["abstract-level", "keyv", "unstorage"];

const folder = mkdtempSync(join(tmpdir(), "harmonydb-package-"));
let tarball = "";

function run(command: string, args: readonly string[], cwd: string): string {
  const ran = spawnSync(command, args, { cwd, encoding: "utf8", timeout: 100_000 });
  if (ran.error !== undefined) throw ran.error;
  if (ran.status !== 0) throw new Error(`${command} ${args.join(" ")}: ${ran.stdout}${ran.stderr}`);
  return ran.stdout;
}

/** An empty project with the unpacked package and those of our packages that it would install. */
function project(name: string, packages: readonly string[]): string {
  const directory = join(folder, name);
  const home = join(directory, "node_modules/harmonydb");
  mkdirSync(home, { recursive: true });
  run("tar", ["-xzf", tarball, "--strip-components=1", "-C", home], directory);
  for (const one of [...Object.keys(manifest.dependencies), ...packages]) {
    const target = join(directory, "node_modules", one);
    mkdirSync(dirname(target), { recursive: true });
    symlinkSync(join(ROOT, "node_modules", one), target);
  }
  writeFileSync(join(directory, "package.json"), JSON.stringify({ type: "module" }));
  return directory;
}

/** What a module says when it is run in the project. */
function said(directory: string, name: string, code: string): string {
  writeFileSync(join(directory, name), code);
  return run(process.execPath, ["--no-warnings", name], directory).trim();
}

beforeAll(() => {
  run("npm", ["pack", "--ignore-scripts", "--silent", "--pack-destination", folder], ROOT);
  tarball = join(folder, readdirSync(folder).find((name) => name.endsWith(".tgz")) ?? "");
  expect(existsSync(tarball)).toBe(true);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the packed package", () => {
  it("asks for the ecosystems of its adapters only where they are used", () => {
    const optional = Object.entries(manifest.peerDependenciesMeta).filter(
      ([, one]) => one.optional,
    );
    expect(optional.map(([name]) => name)).toEqual(Object.keys(manifest.peerDependencies));
    expect(Object.keys(manifest.peerDependencies)).toEqual(SUBPATHS);
    expect(Object.keys(manifest.exports)).toEqual([
      ".",
      ...SUBPATHS.map((name) => `./${name}`),
      "./testing",
      "./package.json",
    ]);
  });

  it("works without any of them, and says what abstract-level is needed for", () => {
    const directory = project("without", []);
    const result = said(
      directory,
      "main.js",
      `import { open } from "harmonydb";
       import { HarmonyKeyv } from "harmonydb/keyv";
       import harmonyDriver from "harmonydb/unstorage";
       const db = await open(":memory:");
       await new HarmonyKeyv(db).set("a", "1");
       await harmonyDriver({ database: db }).setItem("a", "1");
       const error = await import("harmonydb/abstract-level").catch((thrown) => thrown);
       console.log(error.code, error.message, await db.scan().count());
       await db.close();`,
    );
    expect(result).toMatch(/^PEER_MISSING .*npm install abstract-level@3 2$/);
  });

  it("works with each of them, by import and by require", () => {
    const directory = project("with", SUBPATHS);
    const body = (read: (name: string) => string): string =>
      `const { open } = ${read("harmonydb")};
       const { HarmonyLevel } = ${read("harmonydb/abstract-level")};
       const { HarmonyKeyv } = ${read("harmonydb/keyv")};
       const { harmonyDriver } = ${read("harmonydb/unstorage")};
       const { Keyv } = ${read("keyv")};
       const { createStorage } = ${read("unstorage")};
       const { AbstractLevel } = ${read("abstract-level")};
       async function main() {
         const db = await open(":memory:");
         const level = new HarmonyLevel(db);
         await level.put("a", "1");
         const cache = new Keyv({ store: new HarmonyKeyv(db) });
         await cache.set("a", 2);
         const storage = createStorage({ driver: harmonyDriver({ database: db }) });
         await storage.setItem("a", 3);
         console.log(await level.get("a"), await cache.get("a"), await storage.getItem("a"),
           level instanceof AbstractLevel);
         await level.close();
         await db.close();
       }
       main();`;
    const imported = said(
      directory,
      "main.js",
      body((name) => `await import("${name}")`),
    );
    const required = said(
      directory,
      "main.cjs",
      body((name) => `require("${name}")`),
    );
    expect([imported, required]).toEqual(["1 2 3 true", "1 2 3 true"]);
  });

  it.each(["nodenext", "bundler"])("has types by moduleResolution %s", (moduleResolution) => {
    const directory = project(moduleResolution, [...SUBPATHS, "@types/node", "typescript"]);
    const compilerOptions = {
      strict: true,
      exactOptionalPropertyTypes: true,
      target: "ES2023",
      lib: ["ES2023", "ESNext.Disposable"],
      module: moduleResolution === "bundler" ? "esnext" : "nodenext",
      moduleResolution,
      types: ["node"],
      noEmit: true,
    };
    writeFileSync(
      join(directory, "tsconfig.json"),
      JSON.stringify({ compilerOptions, files: ["right.ts", "wrong.ts"] }),
    );
    const right = `import { codecs, type HarmonyDB, open } from "harmonydb";
      import { HarmonyLevel } from "harmonydb/abstract-level";
      import { HarmonyKeyv } from "harmonydb/keyv";
      import harmonyDriver, { type HarmonyDriver } from "harmonydb/unstorage";
      import { type AbstractLevel } from "abstract-level";
      import Keyv from "keyv";
      export async function main(): Promise<void> {
        const db: HarmonyDB = await open(":memory:");
        const level: AbstractLevel<Uint8Array, string, { n: number }> =
          new HarmonyLevel<string, { n: number }>(db, { valueEncoding: "json" });
        const found: { n: number } | undefined = await level.get("a");
        const cache = new Keyv({ store: new HarmonyKeyv(db) });
        const driver: HarmonyDriver = harmonyDriver({ directory: "data" });
        const text: string | null = await driver.getItem("a");
        const count: bigint | undefined = await db.scope("c/", { codec: codecs.int64 }).get("a");
        console.log(found, cache, text, count);
      }\n`;
    writeFileSync(join(directory, "right.ts"), right);
    writeFileSync(
      join(directory, "wrong.ts"),
      `import { HarmonyKeyv } from "harmonydb/keyv";\nexport const wrong = new HarmonyKeyv(1);\n`,
    );
    const compiler = join(ROOT, "node_modules/.bin/tsc");
    const ran = spawnSync(compiler, ["-p", "."], { cwd: directory, encoding: "utf8" });
    const complaints = ran.stdout.split("\n").filter((line) => line.includes("error TS"));
    expect(complaints).toHaveLength(1);
    expect(complaints[0]).toMatch(/^wrong\.ts\(2,.*TS2345/);
  });
});
