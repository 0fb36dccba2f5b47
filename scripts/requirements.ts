/**
 * Reads docs/requirements.md and judges it: every row that the project is held to stands there once, and what a done
 * row names as its proof exists, ran and passed. Without this a table of promises says what somebody once hoped.
 */

export interface Requirement {
  readonly id: string;
  readonly statement: string;
  readonly state: string;
  readonly proof: string;
  readonly line: number;
}

/** How many rows each source has; the ids are the letter and 1 to this number. */
const SOURCES: Readonly<Record<string, number>> = { S0: 87, S1: 32, S2: 56, S3: 48, S4: 90, C: 43 };

/** The parts of the work that an open row may wait for. */
const PARTS: ReadonlySet<string> = new Set([
  "one durable path",
  "simulator",
  "one node",
  "raft whole",
  "snapshots",
  "metrics",
  "speed",
  "redis",
  "later",
]);

export function requirementIds(): readonly string[] {
  return Object.entries(SOURCES).flatMap(([source, count]) =>
    Array.from({ length: count }, (_, i) =>
      source === "C" ? `C${i + 1}` : `${source}-${String(i + 1).padStart(2, "0")}`,
    ),
  );
}

/** All rows of all tables whose first cell is an id. */
export function parseRequirements(page: string): readonly Requirement[] {
  return page.split("\n").flatMap((text, i) => {
    const cells = text.split("|").map((cell) => cell.trim());
    const [, id, statement, state, ...rest] = cells;
    if (id === undefined || !/^(S\d-\d+|C\d+)$/.test(id)) return [];
    // A proof may hold a | inside a name; only the last one ends the row.
    return [
      {
        id,
        statement: statement ?? "",
        state: state ?? "",
        proof: rest.slice(0, -1).join("|").trim(),
        line: i + 1,
      },
    ];
  });
}

/** A test file with the name, or a part of it, of one or more of its tests; or a script of package.json. */
export type Proof =
  | { readonly kind: "test"; readonly file: string; readonly name: string }
  | { readonly kind: "command"; readonly script: string };

/** Null when the text is not one or more proofs separated by semicolons. */
export function parseProofs(text: string): readonly Proof[] | null {
  const proofs: Proof[] = [];
  let rest = text.trim();
  while (rest !== "") {
    const test = /^`([^`]+\.test\.ts)` "([^"]+)"/.exec(rest);
    const command = /^`npm (?:run )?(?!run )([a-z][a-z0-9:]*)(?: [^`]*)?`/.exec(rest);
    const found = test ?? command;
    if (found === null) return null;
    proofs.push(
      test !== null
        ? { kind: "test", file: test[1] as string, name: test[2] as string }
        : { kind: "command", script: found[1] as string },
    );
    rest = rest.slice(found[0].length).trim();
    if (rest !== "" && !rest.startsWith(";")) return null;
    rest = rest.replace(/^;\s*/, "");
  }
  return proofs.length > 0 ? proofs : null;
}

/** The part of vitest's JSON report that is used. */
export interface TestReport {
  readonly testResults: readonly {
    /** Absolute path. */
    readonly name: string;
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
  }[];
}

export interface Evidence {
  /** Root of the repository, without a slash at its end. */
  readonly root: string;
  readonly fileExists: (path: string) => boolean;
  readonly scripts: Readonly<Record<string, string>>;
  /** Of `npm test`. */
  readonly report: TestReport;
  /** Of `npm run test:clients`, which needs programs that not every machine has; null when it did not run. */
  readonly clientsReport: TestReport | null;
}

/** Complaints about the list itself: nothing here needs a test run. */
export function judgeList(requirements: readonly Requirement[]): readonly string[] {
  const complaints: string[] = [];
  const wanted = new Set(requirementIds());
  const seen = new Set<string>();
  for (const { id, statement, state, proof, line } of requirements) {
    const where = `line ${line}, ${id}`;
    if (!wanted.has(id)) complaints.push(`${where}: no such row is known`);
    if (seen.has(id)) complaints.push(`${where}: stands there twice`);
    seen.add(id);
    if (statement === "") complaints.push(`${where}: says nothing`);
    if (state === "done") {
      if (parseProofs(proof) === null)
        complaints.push(
          `${where}: is done and its proof is not of the form \`file.test.ts\` "name" or \`npm run x\``,
        );
    } else if (state === "by design") {
      if (proof === "") complaints.push(`${where}: is not built and gives no reason`);
    } else if (!state.startsWith("open: ") || !PARTS.has(state.slice("open: ".length))) {
      complaints.push(
        `${where}: state "${state}" is none of done, by design, open: ${[...PARTS].join(" | ")}`,
      );
    }
  }
  for (const id of wanted) if (!seen.has(id)) complaints.push(`${id} is missing`);
  return complaints;
}

/** Complaints about the proofs of done rows, against what ran. */
export function judgeProofs(
  requirements: readonly Requirement[],
  evidence: Evidence,
): readonly string[] {
  const complaints: string[] = [];
  for (const { id, state, proof, line } of requirements) {
    if (state !== "done") continue;
    for (const item of parseProofs(proof) ?? []) {
      const complaint =
        item.kind === "command"
          ? judgeCommand(item.script, evidence)
          : judgeTest(item.file, item.name, evidence);
      if (complaint !== null) complaints.push(`line ${line}, ${id}: ${complaint}`);
    }
  }
  return complaints;
}

function judgeCommand(script: string, evidence: Evidence): string | null {
  return evidence.scripts[script] === undefined ? `package.json has no script "${script}"` : null;
}

function judgeTest(file: string, name: string, evidence: Evidence): string | null {
  if (!evidence.fileExists(file)) return `${file} does not exist`;
  const report = file.startsWith("test/clients/") ? evidence.clientsReport : evidence.report;
  if (report === null) return null;
  const ran = report.testResults.find((result) => result.name === `${evidence.root}/${file}`);
  if (ran === undefined) return `${file} did not run`;
  const meant = ran.assertionResults.filter((result) => result.fullName.includes(name));
  if (meant.length === 0) return `${file} has no test "${name}"`;
  const failed = meant.find((result) => result.status !== "passed");
  return failed === undefined ? null : `${file}: "${failed.fullName}" ${failed.status}`;
}

/** "12 done, 3 open, 1 by design", for the end of a check. */
export function summary(requirements: readonly Requirement[]): string {
  const count = (test: (state: string) => boolean): number =>
    requirements.filter(({ state }) => test(state)).length;
  const done = count((state) => state === "done");
  const open = count((state) => state.startsWith("open: "));
  return `${requirements.length} requirements: ${done} done, ${open} open, ${requirements.length - done - open} by design`;
}
