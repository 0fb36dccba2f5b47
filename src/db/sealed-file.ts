/** Small files of one line of JSON with a checksum, which are replaced whole. */
import { crc32c, text, utf8 } from "../base/index.ts";
import {
  closeFile,
  type File,
  FileError,
  type Files,
  fileSize,
  type Io,
  openFile,
  readFile,
  renameFile,
  syncDirectory,
  syncFile,
  unlinkIfThere,
  writeFile,
} from "../env/index.ts";

/** The checksum stands last in the line and covers all before it, so that no flipped bit is taken for a setting. */
const SEALED = /^(\{.*),"checksum":"([0-9a-f]{8})"\}\n?$/;

export function seal(json: string): string {
  const checksum = crc32c(utf8(json)).toString(16).padStart(8, "0");
  return `${json.slice(0, -1)},"checksum":"${checksum}"}\n`;
}

/** `body` null: the line does not end with a checksum. */
export function unseal(content: string): {
  readonly body: string | null;
  readonly isSealed: boolean;
} {
  const [, body, checksum] = SEALED.exec(content) ?? [];
  if (body === undefined) return { body: null, isSealed: false };
  return { body, isSealed: seal(`${body}}`).includes(`"checksum":"${checksum}"`) };
}

/** Null when there is none. What is longer than `bytesMax` is cut, and does not check out then. */
export function* readSmallFile(files: Files, path: string, bytesMax: number): Io<string | null> {
  let file: File;
  try {
    file = yield* openFile(files, path, { access: "read" });
  } catch (error) {
    if (error instanceof FileError && error.code === "ENOENT") return null;
    throw error;
  }
  try {
    const bytes = new Uint8Array(Math.min(yield* fileSize(file), bytesMax));
    yield* readFile(file, 0, bytes);
    return text(bytes);
  } finally {
    yield* closeFile(file);
  }
}

/** Written under another name, synced, renamed, and the directory synced: the old one or the new one, never a mixture. */
export function* replaceFile(
  files: Files,
  directory: string,
  name: string,
  content: string,
): Io<void> {
  const temporary = `${directory}/tmp/${name}`;
  // What is there may be the file itself, under the name that it was made with and that a power loss brought back.
  yield* unlinkIfThere(files, temporary);
  const file = yield* openFile(files, temporary, { access: "readwrite", create: "exclusive" });
  try {
    yield* writeFile(file, 0, utf8(content));
    yield* syncFile(file);
  } finally {
    yield* closeFile(file);
  }
  yield* renameFile(files, temporary, `${directory}/${name}`);
  yield* syncDirectory(files, directory);
}
