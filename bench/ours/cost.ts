// Preloaded (node --import) into a command that is measured: at its end it writes what the process has cost to $MIXBCT_COST.
import { readFileSync, writeFileSync } from 'node:fs';

const file = process.env['MIXBCT_COST'];
if (file !== undefined)
  process.on('exit', () => {
    const { user, system } = process.cpuUsage();
    const [, peakKb] = /VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))!;
    writeFileSync(file, JSON.stringify({ cpuSeconds: (user + system) / 1e6, peakMb: Number(peakKb) / 1024 }));
  });
