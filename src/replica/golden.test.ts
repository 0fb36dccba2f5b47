/** Transcripts of a host, one file for each behaviour. See testing/transcript.ts for the commands and for REWRITE=1. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { setVerifying } from "../base/index.ts";
import { runScript } from "./testing/script.ts";
import { Transcript } from "./testing/transcript.ts";

const folder = new URL("testdata/", import.meta.url);
const files = readdirSync(folder).toSorted();

describe("golden scripts", () => {
  beforeAll(() => setVerifying(true));
  afterAll(() => setVerifying(false));

  it("are there", () => {
    expect(files.length).toBeGreaterThan(10);
  });

  for (const file of files) {
    it(file.replace(/\.txt$/, "").replaceAll("_", " "), () => {
      const url = new URL(file, folder);
      const script = readFileSync(url, "utf8");
      const transcript = new Transcript();
      const printed = runScript(script, (command) => transcript.run(command));
      if (process.env["REWRITE"] === "1") writeFileSync(url, printed);
      else expect(printed).toBe(script);
    });
  }
});
