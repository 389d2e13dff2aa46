/** x */
import { Command } from 'commander';
export function burstCommand(): Command { return new Command('burst'); }
