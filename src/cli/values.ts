/**
 * Reads the texts that people write for options. One reader for flag, environment, file and default, so that a value
 * means the same wherever it stands. A reader throws `ValueProblem` with a sentence that says what would be right.
 */

export class ValueProblem extends Error {
  override readonly name = "ValueProblem" as const;
}

export type Reader<T> = (text: string) => T;

const DURATION_UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** A number with a unit, or several one after another as in 1h30m. Null when it is no such thing. */
function durationWithUnits(text: string): number | null {
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) return null;
  let totalMs = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    totalMs += Number(amount) * (DURATION_UNIT_MS[unit as string] as number);
  }
  return Math.round(totalMs);
}

/** Milliseconds. A bare number counts `bareUnitMs`, which is 1 unless etcd's flag of that name counts otherwise. */
export function duration(
  range: { readonly minMs: number; readonly maxMs: number },
  bareUnitMs = 1,
): Reader<number> {
  return (text) => {
    const valueMs = /^\d+$/.test(text) ? Number(text) * bareUnitMs : durationWithUnits(text);
    if (valueMs === null) {
      throw new ValueProblem(
        `"${text}" is not a duration: write a whole number of milliseconds, or a form like 100ms, 5s, 5m, 1h30m`,
      );
    }
    if (valueMs < range.minMs || valueMs > range.maxMs) {
      throw new ValueProblem(
        `${text} is out of range: from ${showMs(range.minMs)} to ${showMs(range.maxMs)}`,
      );
    }
    return valueMs;
  };
}

function showMs(valueMs: number): string {
  for (const unit of ["d", "h", "m", "s"]) {
    const size = DURATION_UNIT_MS[unit] as number;
    if (valueMs >= size && valueMs % size === 0) return `${valueMs / size}${unit}`;
  }
  return `${valueMs}ms`;
}

const BYTE_UNIT: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  k: 1024,
  kib: 1024,
  m: 1024 ** 2,
  mib: 1024 ** 2,
  g: 1024 ** 3,
  gib: 1024 ** 3,
  t: 1024 ** 4,
  tib: 1024 ** 4,
  kb: 1000,
  mb: 1000 ** 2,
  gb: 1000 ** 3,
  tb: 1000 ** 4,
};

/** Bytes: a whole number, or one with a unit (KiB, MiB, GiB, TiB of 1024; kB, MB, GB, TB of 1000). */
export function byteSize(range: { readonly min: number; readonly max: number }): Reader<number> {
  return (text) => {
    const match = /^(-?\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text);
    const unit = match === null ? undefined : BYTE_UNIT[(match[2] as string).toLowerCase()];
    if (match === null || unit === undefined) {
      throw new ValueProblem(
        `"${text}" is not a size: write bytes as a whole number, or a form like 64MiB, 2GiB`,
      );
    }
    return within(Math.round(Number(match[1]) * unit), text, range);
  };
}

export function wholeNumber(range: { readonly min: number; readonly max: number }): Reader<number> {
  return (text) => {
    if (!/^-?\d+$/.test(text)) throw new ValueProblem(`"${text}" is not a whole number`);
    return within(Number(text), text, range);
  };
}

function within(
  value: number,
  text: string,
  range: { readonly min: number; readonly max: number },
): number {
  if (!Number.isSafeInteger(value) || value < range.min || value > range.max) {
    throw new ValueProblem(`${text} is out of range: from ${range.min} to ${range.max}`);
  }
  return value;
}

export function oneOf<T extends string>(...choices: readonly T[]): Reader<T> {
  return (text) => {
    const found = choices.find((choice) => choice === text);
    if (found === undefined) throw new ValueProblem(`"${text}" is none of ${choices.join(", ")}`);
    return found;
  };
}

export const truth: Reader<boolean> = (text) => {
  if (text === "true") return true;
  if (text === "false") return false;
  throw new ValueProblem(`"${text}" is neither true nor false`);
};

/** Text that is shown in logs and answers: printable, not endless. */
export const word: Reader<string> = (text) => {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (text === "" || text.length > 255 || /[\u0000-\u001f\u007f]/.test(text)) {
    throw new ValueProblem("must be 1 to 255 printable characters");
  }
  return text;
};

/** Three numbers with dots between them. */
export const versionNumber: Reader<string> = (text) => {
  if (!/^\d{1,4}\.\d{1,4}\.\d{1,4}$/.test(text))
    throw new ValueProblem(`"${text}" is not a version like 3.6.11`);
  return text;
};

/** A path as the operating system takes it: anything but nothing and NUL. */
export const path: Reader<string> = (text) => {
  if (text === "" || text.includes("\0")) throw new ValueProblem("must be a path");
  return text;
};

/** An http URL of host and port and nothing else. "localhost:0" asks the system for a free port. */
export interface HostUrl {
  readonly text: string;
  readonly host: string;
  readonly port: number;
}

export function parseHostUrl(text: string): HostUrl {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new ValueProblem(`"${text}" is not a URL: write http://host:port`);
  }
  if (url.protocol === "https:") {
    throw new ValueProblem(
      `"${text}": TLS is not available in this version: write http://host:port`,
    );
  }
  if (url.protocol !== "http:") throw new ValueProblem(`"${text}": the scheme must be http`);
  const port = /:(\d+)\/?$/.exec(text)?.[1];
  if (port === undefined) throw new ValueProblem(`"${text}" has no port: write http://host:port`);
  if (
    url.username !== "" ||
    url.password !== "" ||
    url.search !== "" ||
    url.hash !== "" ||
    url.pathname !== "/"
  ) {
    throw new ValueProblem(`"${text}" has more than host and port: write http://host:port`);
  }
  return {
    text: text.replace(/\/$/, ""),
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: Number(port),
  };
}

/** URLs with commas between them. */
export function urlList(options: { readonly mayBeEmpty: boolean }): Reader<readonly string[]> {
  return (text) => {
    const parts = text
      .split(",")
      .map((part) => part.trim())
      .filter((part) => part !== "");
    if (parts.length === 0 && !options.mayBeEmpty)
      throw new ValueProblem("must name at least one URL");
    const urls = parts.map((part) => parseHostUrl(part).text);
    const twice = urls.find((url, i) => urls.indexOf(url) !== i && !url.endsWith(":0"));
    if (twice !== undefined) throw new ValueProblem(`${twice} stands there twice`);
    return urls;
  };
}

/** As `urlList`; the word "none" stands for no URL at all. */
export function urlListOrNone(text: string): readonly string[] {
  return text.trim() === "none" ? [] : urlList({ mayBeEmpty: true })(text);
}

/** True where only this machine can connect: the loopback names and addresses. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** The candidate that a mistyped word most likely means, or null when none is near. */
export function closest(typed: string, candidates: Iterable<string>): string | null {
  let best: string | null = null;
  let bestDistance = Math.max(2, Math.floor(typed.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(typed, candidate);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (previous[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(replaced, (previous[j] as number) + 1, (row[j - 1] as number) + 1));
    }
    previous = row;
  }
  return previous[b.length] as number;
}
