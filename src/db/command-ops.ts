/** The op codes of commands. A number never gets another meaning. */
export const Op = {
  put: 1,
  deleteRange: 2,
  txn: 3,
  compact: 4,
  leaseGrant: 5,
  leaseRevoke: 6,
  leaseKeepAlive: 7,
  expire: 8,
  /** Only within a transaction. */
  range: 9,
  set: 10,
  incr: 11,
  append: 12,
  setRange: 13,
  mset: 14,
  mdel: 15,
  expireKey: 16,
  lock: 17,
  unlock: 18,
  extendLock: 19,
  sessionOpen: 20,
  sessionClose: 21,
  configure: 22,
  /** A command behind a request id. */
  once: 23,
  raiseRevision: 24,
} as const;
