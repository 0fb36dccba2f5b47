/** The numbers of HTTP/2: frame types, flags, error codes, settings (RFC 9113, sections 6, 7 and 6.5.2). */

export const FrameType = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

/** `endStream` and `ack` share a bit: which of them it is depends on the frame type. */
export const Flag = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 32 } as const;

export const Http2Code = {
  noError: 0,
  protocolError: 1,
  internalError: 2,
  flowControlError: 3,
  settingsTimeout: 4,
  streamClosed: 5,
  frameSizeError: 6,
  refusedStream: 7,
  cancel: 8,
  compressionError: 9,
  connectError: 10,
  enhanceYourCalm: 11,
} as const;
export type Http2Code = (typeof Http2Code)[keyof typeof Http2Code];

export const Setting = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const;

export const FRAME_HEADER_BYTES = 9;
/** What both sides may send before anything else was agreed, and what we stay with. */
export const FRAME_PAYLOAD_BYTES_MAX = 16_384;
export const INITIAL_WINDOW_BYTES = 65_535;
export const WINDOW_BYTES_MAX = 0x7fff_ffff;
export const HEADER_TABLE_BYTES = 4096;
/** What stands before each gRPC message. */
export const MESSAGE_PREFIX_BYTES = 5;

/** What a client says first (section 3.4). */
export const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
