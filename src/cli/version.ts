/** What this build is. The tests of the house compare the number with package.json. */
export const VERSION = "0.1.0";
