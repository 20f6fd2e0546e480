/** The hint for a lack of resources. Unlike a running node, a command does not recover by itself. */
export const RUN_AGAIN =
  "Raise the limit on open files (ulimit -n, LimitNOFILE of systemd) or on memory, or install the program again if it is incomplete, and run the command again. Nothing was done.";
