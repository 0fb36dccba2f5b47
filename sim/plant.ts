/** Plants a bug: a copy of the built code with one change, in a directory of its own. */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Mutant } from "./mutant.ts";

/** Of the project, seen from the built code as well as from the sources. */
const ROOT: string = rootOf(fileURLToPath(new URL(".", import.meta.url)));
const DIST: string = join(ROOT, "dist");

function rootOf(here: string): string {
  const parent = dirname(here.replace(/\/$/, ""));
  return parent.endsWith("/dist") ? dirname(parent) : parent;
}

export interface Planted {
  /** The simulator's command line, with the bug under it. */
  readonly main: string;
  remove(): void;
}

/** The tree must be built. `name` tells copies of the same bug apart. */
export function plant({ name: bug, file, find, replace }: Mutant, name: string = bug): Planted {
  const directory = join(ROOT, "dist-mutants", name);
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  // What a mutant does not run stays out of it.
  const isRun = (path: string): boolean =>
    !/\.(?:d\.ts|map|tsbuildinfo)$/.test(path) &&
    !/\/src\/(?:server|cli|platform)(?:\/|$)/.test(path);
  for (const part of ["src", "sim"])
    cpSync(join(DIST, part), join(directory, part), { recursive: true, filter: isRun });
  const path = join(directory, "src", file);
  const parts = readFileSync(path, "utf8").split(find);
  if (parts.length !== 2)
    throw new Error(`${bug}: what is to be replaced stands ${parts.length - 1} times in ${file}`);
  writeFileSync(path, parts.join(replace));
  return {
    main: join(directory, "sim", "main.js"),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

export function projectPath(...parts: readonly string[]): string {
  return join(ROOT, ...parts);
}
