import { describe, expect, it } from "vitest";
import { HarmonyError } from "../base/index.ts";
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

  it("for want of room says to make some, at the first start of a member, too", () => {
    const error = new HarmonyError("DISK_FULL", "ENOSPC: write data/tmp/0.hdb");
    expect(endingOf(error, "data")).toEqual({
      exit: Exit.refused,
      message: error.message,
      advice: expect.stringMatching(/free space and start again/),
    });
  });
});
