/** Variable with the path of `RankInfo.file`. */
export const RENDEZVOUS_FILE = 'MIXBCT_RDZV_FILE';

/** Variable by which `mixbct launch` tells a process the id of the one that started it. */
export const LAUNCHER = 'MIXBCT_LAUNCHER';
