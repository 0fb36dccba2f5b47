/** Style that matters and that no tool knows: each rule is a test whose failure names the place and the way out. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, it } from "vitest";
import { referencePages } from "../../scripts/reference.ts";
import type { ErrorCode } from "../../src/base/index.ts";
import { OPTIONS, VERSION } from "../../src/cli/index.ts";
import { FOLDERS, ROOT } from "./planted.ts";

const NOT_OURS: ReadonlySet<string> = new Set([
  "api",
  ".git",
  "node_modules",
  "dist",
  "dist-mutants",
  "data",
  "gen",
  "results",
]);
const BINARY = /\.(bin|hdb|wal|snap|png|gz)$/;

function* walk(directory: string): Generator<string> {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (NOT_OURS.has(entry.name)) continue;
    const path = join(directory, entry.name);
    if (entry.isDirectory()) yield* walk(path);
    else if (entry.isFile() && !BINARY.test(entry.name)) yield path;
  }
}

interface Source {
  /** From the root, with slashes. */
  readonly path: string;
  readonly text: string;
}

const FILES: readonly Source[] = [...walk(ROOT)].map((path) => ({
  path: relative(ROOT, path).replaceAll("\\", "/"),
  text: readFileSync(path, "utf8"),
}));
const MARKDOWN: readonly Source[] = FILES.filter(({ path }) => path.endsWith(".md"));
const CODE: readonly Source[] = FILES.filter(({ path }) => path.endsWith(".ts"));
const PURE = /^src\/(base|env|raft|btree|codec|wal|mvcc|snapshot|replica|db)\//;
const TEST = /\.(test|suite|fuzz)\.ts$|^test\/|\/testing\//;

/** Every line that matches, as "path:line: text". */
function linesWith(files: readonly Source[], pattern: RegExp): readonly string[] {
  return files.flatMap(({ path, text }) =>
    text
      .split("\n")
      .flatMap((line, i) =>
        pattern.test(line) ? [`${path}:${i + 1}: ${line.trim().slice(0, 120)}`] : [],
      ),
  );
}

/** "src/raft" of "src/raft/tracker/progress.ts". */
function folderOf(path: string): string {
  return path.split("/").slice(0, 2).join("/");
}

function withoutComments(source: Source): Source {
  // Line breaks stay, so that complaints name the right line.
  const text = source.text
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ""))
    .replace(/\/\/.*$/gm, "");
  return { path: source.path, text };
}

describe("the text of the repository", () => {
  it("promises nothing for later: an open point is an issue, not a mark in the code", () => {
    // Put together here, so that this file does not find itself.
    const marks = ["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"].join("|");
    expect(linesWith(FILES, new RegExp(`\\b(${marks})\\b`))).toEqual([]);
  });

  it("names no path of anybody's machine and no host of a package registry", () => {
    const homes = ["home", "root", "Users", "work", "mnt"].join("|");
    const files = FILES.filter(({ path }) => path !== "LICENSE");
    expect(linesWith(files, new RegExp(`(^|[\\s"'\`(=:])/(${homes})/[\\w.-]`))).toEqual([]);
    expect(linesWith(files, /https?:\/\/(registry|npm)\.[\w.-]+/)).toEqual([]);
  });

  it("has no test that is skipped, or that runs alone", () => {
    expect(linesWith(CODE, /\b(it|test|describe)\.(skip|only|todo|fails)\b/)).toEqual([]);
  });

  it("has one title per document, in its first line", () => {
    const wrong = MARKDOWN.filter(({ text }) => {
      const prose = text.replace(/^```[\s\S]*?^```/gm, "");
      return !/^# \S/.test(text) || (prose.match(/^# /gm) ?? []).length !== 1;
    });
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });

  it("links only to files that exist", () => {
    const broken = MARKDOWN.flatMap(({ path, text }) =>
      [...text.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)]
        .map(([, target]) => target as string)
        .filter((target) => !existsSync(join(ROOT, dirname(path), target)))
        .map((target) => `${path}: ${target}`),
    );
    expect(broken).toEqual([]);
  });
});

describe("the code", () => {
  it("has a door with a chapter in each folder of src", () => {
    for (const folder of FOLDERS) {
      const door = FILES.find(({ path }) => path === `src/${folder}/index.ts`);
      expect(door, `src/${folder}/index.ts is missing`).toBeDefined();
      const chapter = /^\/\*\*([\s\S]*?)\*\//.exec(door?.text ?? "")?.[1] ?? "";
      const words = chapter.split(/\s+/).filter((word) => /\w/.test(word));
      expect(
        words.length,
        `src/${folder}/index.ts opens with what, why, invariants, what is left out`,
      ).toBeGreaterThan(40);
    }
  });

  it("opens each source file with a sentence that says what it is", () => {
    const mute = CODE.filter(
      ({ path, text }) =>
        path.startsWith("src/") && !TEST.test(path) && !/^(\/\*\*|\/\/)/.test(text),
    );
    expect(mute.map(({ path }) => path)).toEqual([]);
  });

  it("keeps a file to one concept: at most 700 lines, one heart per folder up to 900, 1000 for tests", () => {
    const sized = CODE.map(({ path, text }) => ({ path, lines: text.split("\n").length }));
    const tooLong = sized.filter(({ path, lines }) => lines > (TEST.test(path) ? 1000 : 900));
    const hearts = sized
      .filter(({ path, lines }) => lines > 700 && !TEST.test(path))
      .map(({ path }) => path);
    const second = hearts.filter(
      (path, i) => hearts.findIndex((other) => folderOf(other) === folderOf(path)) !== i,
    );
    expect({ tooLong, second }).toEqual({ tooLong: [], second: [] });
  });

  it("has no promise in a pure layer below db, where only callbacks and generators let the simulator decide", () => {
    const pure = CODE.filter(
      ({ path }) => PURE.test(path) && !TEST.test(path) && !path.startsWith("src/db/"),
    ).map(withoutComments);
    expect(
      linesWith(pure, /\b(async|await)\b|\bnew Promise\b|\bPromise[.<]|\bqueueMicrotask\b/),
    ).toEqual([]);
  });

  it("imports no package in a pure layer, but the wire reader of protobuf in codec", () => {
    const pure = CODE.filter(({ path }) => PURE.test(path) && !TEST.test(path));
    const bare = linesWith(pure, /^(import|export|\}).*\bfrom "[^."]/).filter(
      (line) => !/^src\/codec\/.*"@bufbuild\/protobuf\/wire"/.test(line),
    );
    expect(bare).toEqual([]);
  });

  it("sorts with a comparison: without one, numbers are ordered as text", () => {
    const pure = CODE.filter(({ path }) => PURE.test(path) && !TEST.test(path)).map(
      withoutComments,
    );
    expect(linesWith(pure, /localeCompare|\bIntl\b/)).toEqual([]);
  });
});

describe("the documents that follow the code", () => {
  it.each([...referencePages()])(
    "%s is what the tables say (npm run reference writes it)",
    (path, text) => {
      expect(readFileSync(join(ROOT, path), "utf8")).toBe(text);
    },
  );

  it("give a paragraph to each dependency", () => {
    const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as Record<
      string,
      unknown
    >;
    const names = [
      ...Object.keys(manifest["dependencies"] as object),
      ...Object.keys(manifest["devDependencies"] as object),
    ];
    const page = readFileSync(join(ROOT, "docs/decisions/dependencies.md"), "utf8");
    expect(names.filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
    expect(manifest["version"]).toBe(VERSION);
  });

  it("say of every mode, and of every refusal for want of room, what an acknowledgement means", () => {
    const page = readFileSync(join(ROOT, "docs/reliability.md"), "utf8");
    const [, section] = /^## What an acknowledgement means\n(.*?)^## /ms.exec(page) ?? [];
    const flags = [OPTIONS.fsyncIntervalMs, OPTIONS.disablePersistence].map(
      ({ flag }) => `\`--${flag}`,
    );
    const codes: readonly ErrorCode[] = ["TOO_MANY_REQUESTS", "DISK_FULL"];
    const words = ["sync, the default", ...flags, ...codes, "maybeApplied"];
    expect(words.filter((word) => section?.includes(word) !== true)).toEqual([]);
  });

  it("say of each public item what it is: the reports of the API know of none without a comment", () => {
    const folder = join(ROOT, "api");
    const mute = readdirSync(folder)
      .filter((name) => name.endsWith(".md"))
      .flatMap((name) => {
        const lines = readFileSync(join(folder, name), "utf8").split("\n");
        return lines.flatMap((line, i) =>
          line.includes("(undocumented)") && !line.includes("@internal")
            ? [`${name}: ${lines[i + 1]?.trim()}`]
            : [],
        );
      });
    expect(mute).toEqual([]);
  });

  it("list every decision in their index", () => {
    const index = readFileSync(join(ROOT, "docs/decisions/README.md"), "utf8");
    const decisions = readdirSync(join(ROOT, "docs/decisions")).filter(
      (name) => name !== "README.md",
    );
    expect(decisions.filter((name) => !index.includes(`(${name})`))).toEqual([]);
  });
});

describe("the package", () => {
  it("runs no script at its users' installation and needs no compiler there", () => {
    const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
      scripts: Record<string, string>;
      dependencies: Record<string, string>;
    };
    for (const hook of ["preinstall", "install", "postinstall"])
      expect(manifest.scripts[hook]).toBeUndefined();
    for (const name of Object.keys(manifest.dependencies)) {
      expect(
        existsSync(join(ROOT, "node_modules", name, "binding.gyp")),
        `${name} builds native code`,
      ).toBe(false);
    }
  });

  it("pins what it depends on", () => {
    const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as Record<
      string,
      Record<string, string>
    >;
    const loose = ["dependencies", "devDependencies"].flatMap((kind) =>
      Object.entries(manifest[kind] as Record<string, string>).filter(
        ([, version]) => !/^\d+\.\d+\.\d+$/.test(version),
      ),
    );
    expect(loose).toEqual([]);
  });
});
