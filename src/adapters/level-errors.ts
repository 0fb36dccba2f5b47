/** Errors as users of Level know them: a code that begins with LEVEL_, ours as `cause`. */
import { type ErrorCode, HarmonyError } from "../base/index.ts";

/** What an operation of the level rejects with. What the level checks itself is an error of abstract-level. */
export class LevelError extends Error {
  /** The same in every version. */
  override readonly name = "LevelError" as const;
  /** As in other stores of Level where they have one, otherwise LEVEL_ and our own code. */
  readonly code: string;

  constructor(code: string, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** The words that Level's own stores use. */
const CODES: Partial<Record<ErrorCode, string>> = {
  KEY_EMPTY: "LEVEL_INVALID_KEY",
  KEY_TOO_LARGE: "LEVEL_INVALID_KEY",
  TOO_LARGE: "LEVEL_INVALID_VALUE",
  ABORTED: "LEVEL_ABORTED",
  CLOSED: "LEVEL_DATABASE_NOT_OPEN",
  STOPPED: "LEVEL_DATABASE_NOT_OPEN",
  DIRECTORY_LOCKED: "LEVEL_LOCKED",
  CORRUPT: "LEVEL_CORRUPTION",
  IO: "LEVEL_IO_ERROR",
};

/** What was thrown, as an error of Level; a text becomes "the database is not open". */
export function failure(thrown: unknown): unknown {
  if (typeof thrown === "string") return new LevelError("LEVEL_DATABASE_NOT_OPEN", thrown);
  if (!(thrown instanceof HarmonyError)) return thrown;
  const { code, message } = thrown;
  return new LevelError(CODES[code] ?? `LEVEL_${code}`, message, { cause: thrown });
}

/** The same work, with the errors of Level. */
export async function translated<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw failure(error);
  }
}
