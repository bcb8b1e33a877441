/** Variable with the file of `Place.file`. */
export const RENDEZVOUS_FILE = 'MIXBCT_RDZV_FILE';
