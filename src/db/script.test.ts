/** Golden scripts. `npx vitest run src/db/script.test.ts -u` writes the answers anew: read the difference before you keep it. */
import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { setVerifying } from "../base/index.ts";
import { runScript } from "./script.suite.ts";

setVerifying(true);

const directory = new URL("testdata/", import.meta.url);

describe("scripts", () => {
  for (const file of readdirSync(directory).toSorted()) {
    it(file.replace(/\.txt$/, "").replaceAll("_", " "), async () => {
      const path = new URL(file, directory).pathname;
      await expect(runScript(decodeURIComponent(path))).toMatchFileSnapshot(
        decodeURIComponent(path),
      );
    });
  }
});
