/**
 * Patterns of channels, as Redis has them: `*` any text, `?` one character, `[...]` one of a set with ranges and `^` for
 * all others, `\` takes the next character as it is. A set that nobody closes ends with the pattern.
 */

/** Whether `text` matches all of `pattern`. Goes back only to the last `*`, so it ends soon whatever they are. */
export function matchesGlob(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let starAt = -1;
  let resumeAt = 0;
  while (t < text.length) {
    if (pattern[p] === "*") {
      starAt = p++;
      resumeAt = t;
      continue;
    }
    const next = p < pattern.length ? matchOne(pattern, p, text[t] as string) : -1;
    if (next >= 0) {
      p = next;
      t++;
    } else if (starAt >= 0) {
      p = starAt + 1;
      t = ++resumeAt;
    } else {
      return false;
    }
  }
  while (pattern[p] === "*") p++;
  return p >= pattern.length;
}

/** Where the pattern goes on after `character`, or -1 when it does not match. */
function matchOne(pattern: string, at: number, character: string): number {
  const symbol = pattern.charAt(at);
  switch (symbol) {
    case "?":
      return at + 1;
    case "[":
      return matchSet(pattern, at + 1, character);
    case "\\": {
      const literal = at + 1 < pattern.length ? at + 1 : at;
      return pattern[literal] === character ? literal + 1 : -1;
    }
    default:
      return symbol === character ? at + 1 : -1;
  }
}

function matchSet(pattern: string, at: number, character: string): number {
  const isNegated = pattern[at] === "^";
  if (isNegated) at++;
  let isFound = false;
  while (at < pattern.length && pattern[at] !== "]") {
    if (pattern[at] === "\\" && at + 1 < pattern.length) at++;
    const low = pattern[at] as string;
    const high =
      pattern[at + 1] === "-" && at + 2 < pattern.length && pattern[at + 2] !== "]"
        ? (pattern[at + 2] as string)
        : null;
    if (high === null) {
      isFound ||= low === character;
      at++;
    } else {
      // Given the wrong way round it means the same.
      isFound ||=
        low <= high ? low <= character && character <= high : high <= character && character <= low;
      at += 3;
    }
  }
  return isFound !== isNegated ? at + 1 : -1;
}
