/** Signals that ask a process to stop in order: Ctrl-C, a cluster, and the end of a session. */
export const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
