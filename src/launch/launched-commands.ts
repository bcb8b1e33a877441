/** Commands that know what to do with several processes. */
export const launchedCommands = ['train', 'extract', 'evaluate ijb'];
