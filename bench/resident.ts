import { readFileSync } from "node:fs";

/** What this process has of the machine's memory, by the kernel's word. */
export function residentBytes(): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"));
  return Number(line?.[1]) * 1024;
}
