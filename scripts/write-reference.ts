/** `npm run reference`: writes the pages of docs/reference that are made from tables in the code. */
import { writeFileSync } from "node:fs";
import { referencePages } from "./reference.ts";

for (const [path, text] of referencePages()) {
  writeFileSync(path, text);
  process.stdout.write(`${path}\n`);
}
