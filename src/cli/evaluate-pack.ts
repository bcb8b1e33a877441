import type { Command } from 'commander';
import { command } from './context.ts';
export const evaluatePackCommand = (): Command => command('pack', 'x', 'y');
