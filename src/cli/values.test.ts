import { describe, expect, it } from "vitest";
import {
  byteSize,
  closest,
  duration,
  isLoopback,
  oneOf,
  parseHostUrl,
  truth,
  urlList,
  ValueProblem,
  wholeNumber,
  word,
} from "./values.ts";

describe("values of options", () => {
  const time = duration({ minMs: 0, maxMs: 86_400_000 });

  it.each([
    ["100", 100],
    ["0", 0],
    ["100ms", 100],
    ["5s", 5_000],
    ["5m", 300_000],
    ["1h30m", 5_400_000],
    ["1.5s", 1_500],
    ["1d", 86_400_000],
  ])("reads the duration %s as %d ms", (text, ms) => {
    expect(time(text)).toBe(ms);
  });

  it.each(["", "5 minutes", "m", "-1", "1e3", "5m3", "٣"])("refuses the duration %j", (text) => {
    expect(() => time(text)).toThrow(ValueProblem);
  });

  it("counts a bare number in the unit that etcd's flag of the name has", () => {
    expect(duration({ minMs: 0, maxMs: 1e12 }, 3_600_000)("2")).toBe(7_200_000);
  });

  it("says the range of a duration in units", () => {
    expect(() => duration({ minMs: 1000, maxMs: 3_600_000 })("2h")).toThrow(
      "2h is out of range: from 1s to 1h",
    );
  });

  it.each([
    ["4096", 4096],
    ["64MiB", 67_108_864],
    ["64mib", 67_108_864],
    ["1.5MiB", 1_572_864],
    ["2 GiB", 2_147_483_648],
    ["10MB", 10_000_000],
    ["-1", -1],
  ])("reads the size %s as %d bytes", (text, bytes) => {
    expect(byteSize({ min: -1, max: 2 ** 40 })(text)).toBe(bytes);
  });

  it.each(["", "MiB", "64 parsecs", "0x10", "1e400"])("refuses the size %j", (text) => {
    expect(() => byteSize({ min: 0, max: 2 ** 40 })(text)).toThrow(ValueProblem);
  });

  it("keeps whole numbers in their range", () => {
    const count = wholeNumber({ min: 1, max: 10 });
    expect(count("10")).toBe(10);
    expect(() => count("11")).toThrow("11 is out of range: from 1 to 10");
    expect(() => count("1.5")).toThrow('"1.5" is not a whole number');
    expect(() => wholeNumber({ min: 0, max: Number.MAX_SAFE_INTEGER })("9007199254740993")).toThrow(
      ValueProblem,
    );
  });

  it("reads switches and choices exactly", () => {
    expect(truth("true")).toBe(true);
    expect(() => truth("yes")).toThrow('"yes" is neither true nor false');
    expect(() => oneOf("json", "console")("JSON")).toThrow('"JSON" is none of json, console');
  });

  it("refuses names with control characters", () => {
    expect(word("n1")).toBe("n1");
    expect(() => word("a\nb")).toThrow(ValueProblem);
    expect(() => word("")).toThrow(ValueProblem);
  });

  it("takes a URL apart and refuses what is more than host and port", () => {
    expect(parseHostUrl("http://127.0.0.1:2379/")).toEqual({
      text: "http://127.0.0.1:2379",
      host: "127.0.0.1",
      port: 2379,
    });
    expect(parseHostUrl("http://[::1]:80")).toEqual({
      text: "http://[::1]:80",
      host: "::1",
      port: 80,
    });
    expect(() => parseHostUrl("127.0.0.1:2379")).toThrow(ValueProblem);
    expect(() => parseHostUrl("http://localhost")).toThrow("has no port");
    expect(() => parseHostUrl("https://localhost:1")).toThrow("TLS is not available");
    expect(() => parseHostUrl("http://u:p@localhost:1")).toThrow("more than host and port");
    expect(() => parseHostUrl("http://localhost:99999")).toThrow("is not a URL");
  });

  it("splits lists of URLs and refuses a URL that stands there twice", () => {
    expect(urlList({ mayBeEmpty: false })("http://a:1, http://b:2")).toEqual([
      "http://a:1",
      "http://b:2",
    ]);
    expect(() => urlList({ mayBeEmpty: false })("http://a:1,http://a:1")).toThrow(
      "stands there twice",
    );
    expect(() => urlList({ mayBeEmpty: false })(" , ")).toThrow("at least one");
    expect(urlList({ mayBeEmpty: true })("")).toEqual([]);
  });

  it.each([
    ["localhost", true],
    ["127.0.0.1", true],
    ["127.9.9.9", true],
    ["::1", true],
    ["0.0.0.0", false],
    ["::", false],
    ["10.0.0.1", false],
    ["127.0.0.1.example.com", false],
    ["localhost.example.com", false],
  ])("knows whether %s is this machine alone: %s", (host, loopback) => {
    expect(isLoopback(host)).toBe(loopback);
  });

  it("suggests the nearest word and nothing when none is near", () => {
    expect(closest("data-dri", ["data-dir", "name"])).toBe("data-dir");
    expect(closest("zzzzzz", ["data-dir", "name"])).toBeNull();
  });
});
