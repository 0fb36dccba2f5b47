import { describe, expect, it } from "vitest";
import { endingOf, Exit } from "./exit.ts";

describe("an end of the process", () => {
  it.each(["EMFILE", "ENFILE"])(
    "for want of file handles (%s) is no defect and says so",
    (code) => {
      const error = Object.assign(new Error(`${code}: too many open files, open 'index.js'`), {
        code,
      });
      expect(endingOf(error, "data")).toEqual({
        exit: Exit.refused,
        message: error.message,
        advice: expect.stringMatching(/raise .*(ulimit|file-max)/),
      });
    },
  );
});
