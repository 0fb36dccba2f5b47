import { describe, expect, it } from "vitest";
import { CorruptionError, type ErrorCode, ERRORS, HarmonyError } from "./index.ts";

describe("the catalogue of errors", () => {
  it("has a sentence, a reaction and an answer to the replication question for each code", () => {
    for (const [code, info] of Object.entries(ERRORS)) {
      expect(code).toMatch(/^[A-Z][A-Z_]*$/);
      expect(info.summary.length).toBeGreaterThan(3);
      expect(["retry", "fix-request", "operator"]).toContain(info.reaction);
      expect(Object.isFrozen(info)).toBe(true);
      // What the same request may get past later is not a result that every replica shares.
      if (info.reaction === "retry") expect(info.deterministic).toBe(false);
    }
    const summaries = Object.values(ERRORS).map((info) => info.summary);
    expect(new Set(summaries).size).toBe(summaries.length);
  });

  it("cannot be changed", () => {
    expect(() => {
      (ERRORS as Record<string, unknown>)["IO"] = undefined;
    }).toThrow(TypeError);
  });
});

describe("an error", () => {
  it("says the sentence of its code, the detail, and whether the write may have happened", () => {
    expect(new HarmonyError("CLOSED").message).toBe(ERRORS.CLOSED.summary);
    const cause = new Error("below");
    const error = new HarmonyError("TIMEOUT", "after 5 s", { maybeApplied: true, cause });
    expect(error.message).toBe("request timed out: after 5 s");
    expect(error).toMatchObject({
      name: "HarmonyError",
      code: "TIMEOUT",
      maybeApplied: true,
      cause,
    });
    expect(new HarmonyError("IO").maybeApplied).toBe(false);
    expect("cause" in new HarmonyError("IO")).toBe(false);
  });

  it("names file and offset of what is damaged", () => {
    const error = new CorruptionError({ file: "wal/1.wal", offset: 512, what: "checksum" });
    const code: ErrorCode = error.code;
    expect(code).toBe("CORRUPT");
    expect(error).toBeInstanceOf(HarmonyError);
    expect(error.message).toContain("wal/1.wal at offset 512: checksum");
  });
});
