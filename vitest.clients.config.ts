import { defineConfig } from "vitest/config";

/** Tests that drive real client programs. They fail, and do not skip, when a program is missing. */
export default defineConfig({
  test: { include: ["test/clients/**/*.test.ts"], pool: "threads", testTimeout: 60_000 },
});
