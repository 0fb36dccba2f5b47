/**
 * A small copy of the house in a temporary directory: our own configuration files, one tiny door per folder, and
 * whatever a test plants. The compiler and the linter that judge it are the real ones.
 */
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT: string = fileURLToPath(new URL("../..", import.meta.url));

/** The folders under src that have a project of their own. */
export const FOLDERS: readonly string[] = readdirSync(join(ROOT, "src"), { withFileTypes: true })
  .filter(
    (entry) => entry.isDirectory() && existsSync(join(ROOT, "src", entry.name, "tsconfig.json")),
  )
  .map((entry) => entry.name);

/** What a tool said, one string per complaint: "<path>: <rule or number> <text>". */
export type Complaints = readonly string[];

export class PlantedHouse {
  readonly directory: string;

  /** `files`: what is planted, by path from the root of the house. */
  constructor(files: Readonly<Record<string, string>>) {
    this.directory = mkdtempSync(join(tmpdir(), "harmonydb-house-"));
    for (const name of ["tsconfig.base.json", "types", ".oxlintrc.json"]) {
      cpSync(join(ROOT, name), join(this.directory, name), { recursive: true });
    }
    for (const folder of FOLDERS) {
      this.#write(`src/${folder}/index.ts`, `export const ${folder}: string = "${folder}";\n`);
      cpSync(
        join(ROOT, "src", folder, "tsconfig.json"),
        join(this.directory, "src", folder, "tsconfig.json"),
      );
    }
    // The front door has a project of its own, which the adapters stand on.
    this.#write("src/index.ts", 'export const front: string = "front";\n');
    cpSync(join(ROOT, "src/tsconfig.json"), join(this.directory, "src/tsconfig.json"));
    this.#write(
      "tsconfig.json",
      JSON.stringify({
        files: [],
        references: FOLDERS.map((folder) => ({ path: `src/${folder}` })),
      }),
    );
    this.#write("package.json", JSON.stringify({ name: "planted", type: "module" }));
    symlinkSync(join(ROOT, "node_modules"), join(this.directory, "node_modules"));
    for (const [path, text] of Object.entries(files)) this.#write(path, text);
  }

  #write(path: string, text: string): void {
    const target = join(this.directory, path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, text);
  }

  compile(): Complaints {
    const out = this.#tool("tsc", ["-b", "--pretty", "false"]);
    return [...out.matchAll(/^(\S+?)\(\d+,\d+\): error (TS\d+: .*)$/gm)].map(
      ([, path, what]) => `${path as string}: ${what as string}`,
    );
  }

  lint(): Complaints {
    const out = this.#tool("oxlint", ["--deny-warnings", "--type-aware", "--format=unix", "src"]);
    return [...out.matchAll(/^(\S+?):\d+:\d+: (.*)$/gm)].map(
      ([, path, what]) => `${path as string}: ${what as string}`,
    );
  }

  #tool(name: string, args: readonly string[]): string {
    const bin = join(ROOT, "node_modules", ".bin", name);
    const ran = spawnSync(bin, args, { cwd: this.directory, encoding: "utf8", timeout: 60_000 });
    if (ran.error !== undefined) throw ran.error;
    return ran.stdout + ran.stderr;
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
