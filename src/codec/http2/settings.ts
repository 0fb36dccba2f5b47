/** The client's SETTINGS, checked (RFC 9113, section 6.5). Those that only concern what we never do are not kept. */
import { readU32BigEndian } from "./frame-reader.ts";
import { FRAME_PAYLOAD_BYTES_MAX, Http2Code, Setting, WINDOW_BYTES_MAX } from "./protocol.ts";

export interface PeerSettings {
  headerTableBytes: number | null;
  initialWindowBytes: number | null;
}

const FRAME_BYTES_LIMIT = 0xff_ffff;

/** What the frame changes; a code when it is wrong. Of a setting that stands twice the last one counts. */
export function readSettings(
  bytes: Uint8Array,
  start: number,
  end: number,
): PeerSettings | Http2Code {
  if ((end - start) % 6 !== 0) return Http2Code.frameSizeError;
  const settings: PeerSettings = { headerTableBytes: null, initialWindowBytes: null };
  for (let at = start; at < end; at += 6) {
    const id = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
    const value = readU32BigEndian(bytes, at + 2);
    switch (id) {
      case Setting.headerTableSize:
        // The smallest of several decides whether the table can be counted on.
        settings.headerTableBytes = Math.min(settings.headerTableBytes ?? value, value);
        break;
      case Setting.enablePush:
        if (value > 1) return Http2Code.protocolError;
        break;
      case Setting.initialWindowSize:
        if (value > WINDOW_BYTES_MAX) return Http2Code.flowControlError;
        settings.initialWindowBytes = value;
        break;
      case Setting.maxFrameSize:
        if (value < FRAME_PAYLOAD_BYTES_MAX || value > FRAME_BYTES_LIMIT)
          return Http2Code.protocolError;
        break;
      default:
        break;
    }
  }
  return settings;
}
