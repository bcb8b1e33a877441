/** Variable with the path of `RankInfo.file`. */
export const RENDEZVOUS_FILE = 'MIXBCT_RDZV_FILE';
