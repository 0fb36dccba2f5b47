/** `npm run requirements`: judges docs/requirements.md against the report that `npm test` left behind. */
import { existsSync, readFileSync } from "node:fs";
import {
  judgeList,
  judgeProofs,
  parseRequirements,
  summary,
  type TestReport,
} from "./requirements.ts";

const REPORT = "dist/test-report.json";
const CLIENTS_REPORT = "dist/clients-report.json";

function readJson(path: string): unknown {
  return JSON.parse(readFileSync(path, "utf8"));
}

const requirements = parseRequirements(readFileSync("docs/requirements.md", "utf8"));
const complaints = [...judgeList(requirements)];
if (existsSync(REPORT)) {
  complaints.push(
    ...judgeProofs(requirements, {
      root: process.cwd(),
      fileExists: existsSync,
      scripts: (readJson("package.json") as { scripts: Record<string, string> }).scripts,
      report: readJson(REPORT) as TestReport,
      clientsReport: existsSync(CLIENTS_REPORT) ? (readJson(CLIENTS_REPORT) as TestReport) : null,
    }),
  );
} else {
  complaints.push(`${REPORT} is missing: run npm test first`);
}
for (const complaint of complaints) process.stderr.write(`docs/requirements.md: ${complaint}\n`);
process.stdout.write(`${summary(requirements)}\n`);
if (complaints.length > 0) process.exitCode = 1;
